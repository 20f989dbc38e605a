// The protocol servers as a whole: interfaces, routes, sockets. Sans-IO: every input enters by Stack::handle(), every output
// leaves by Host; so a run can be recorded and replayed (stack/recording.h), and runs at user level, in the kernel, in a test.
//
// Single-threaded: one engine, one Stack. Sockets belong to an `owner`, a number that only the host understands.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/time.h"
#include "buf/packet.h"
#include "wire/address.h"

namespace ferry::stack {

using wire::Endpoint;
using LinkIndex = uint32_t;
// Index and generation of a socket; stale ids are rejected with Errc::bad_socket. 0 is never a socket.
using SocketId = uint64_t;
using Owner = uint64_t;

enum class SocketType : uint8_t { tcp, udp, icmp_echo };

struct DatagramInfo {
  Endpoint remote;
  Endpoint local;      // output: wanted source address, or unspecified
  uint8_t tos = 0;
  uint8_t ttl = 0;     // output: 0 = the socket's
  bool tos_set = false;
  LinkIndex link = 0;
};

// An ICMP error about something a socket sent (RFC 1122 section 4.2.3.9, 4.1.3.3).
struct IcmpError {
  Errc error = Errc::ok;
  uint8_t type = 0, code = 0;
  uint32_t mtu = 0;       // fragmentation needed: next-hop MTU
  Endpoint remote;        // where the offending datagram went
  wire::IpAddress from;   // who complained
};

// Everything a stack asks of, or tells, the world.
class Host : public buf::Memory {
 public:
  virtual Status transmit(LinkIndex link, const buf::Packet& packet) = 0;

  // --- TCP input memory: see tcp::Host ---
  virtual Result<buf::IoDesc> place(Owner owner, ByteSpan payload) = 0;
  virtual void discard(Owner owner, const buf::IoDesc& d) = 0;
  virtual void deliver(Owner owner, const buf::IoDesc& d) = 0;
  // --- datagrams: placed and delivered in one step; a refusal drops the datagram (counted) ---
  virtual Status deliver_datagram(Owner owner, const DatagramInfo& info, ByteSpan payload) = 0;
  virtual void deliver_icmp_error(Owner owner, const IcmpError& error) = 0;

  // The first `bytes` of the owner's output not yet completed are no longer referred to.
  virtual void on_completed(Owner owner, uint32_t bytes) = 0;
  // tcp::Event bits.
  virtual void on_events(Owner owner, uint32_t events) = 0;
  // A connection on a listener began; the host names its owner (0 refuses it). Data may be placed for it at once.
  virtual Owner on_incoming(Owner listener, SocketId child, const Endpoint& local, const Endpoint& remote) = 0;
  // A child completed its handshake and waits in the listener's accept queue.
  virtual void on_acceptable(Owner listener) = 0;

 protected:
  ~Host() = default;
};

struct InterfaceConfig {
  wire::MacAddress mac;
  wire::Ipv4Prefix prefix;     // own address and its network
  uint32_t mtu = 1500;
  uint32_t max_gso = 0;        // bytes of payload that the link segments, 0: none
  bool checksum_tx = false;
  bool loopback = false;       // packets come straight back in (127.0.0.0/8)
};

struct Route {
  wire::Ipv4Prefix destination;
  wire::Ipv4Address gateway;   // unspecified: on link
  LinkIndex link = 0;
};

struct Config {
  uint64_t seed = 0;           // of all randomness: initial sequence numbers, ports, identifications
  uint32_t max_sockets = 65536;
  uint16_t ephemeral_first = 32768, ephemeral_last = 60999;  // as Linux's ip_local_port_range
};

// What a host may ask of a socket. Numbers are stable: recordings hold them.
enum class CallOp : uint8_t {
  open = 1,       // type, owner -> socket
  bind,           // local (port 0: ephemeral) -> local
  listen,         // number = backlog
  connect,        // remote; UDP: sets the default peer; TCP -> error in_progress, then events. Unspecified remote: disconnect
  accept,         // socket = listener -> socket of the child, local, remote; Errc::again when none
  send,           // TCP: data, flags (SendFlag). Takes all of it or fails; the host respects send_space()
  send_datagram,  // data (payload), info
  consumed,       // number = bytes the owner has read: opens the window
  shutdown,       // number: 1 read, 2 write, 3 both
  close,          // the owner is gone: graceful, or by SO_LINGER; unread data resets (RFC 2525 section 2.17). The id is dead
  abort,          // RST now; the id is dead
  set_option,     // option, number
  set_owner,      // owner (accepted children, re-homing)
  send_echo,      // icmp_echo: remote, number = sequence, data
};

enum SendFlag : uint32_t { kSendMore = 1, kSendUrgent = 2 };

enum class Option : uint8_t {
  no_delay = 1, cork, keep_alive, keep_idle, keep_interval, keep_count, linger /* seconds; -1 off */, user_timeout /* ms */,
  max_segment, quick_ack, receive_buffer, send_buffer, reuse_address, reuse_port, broadcast, tos, ttl, defer_accept,
  syn_count, congestion /* tcp::cc algorithm number */, oob_inline, linger2, window_clamp, not_sent_low_water, dont_fragment,
  receive_errors,
};

struct Call {
  CallOp op{};
  SocketType type{};
  Option option{};
  uint32_t flags = 0;
  SocketId socket = 0;
  Owner owner = 0;
  int64_t number = 0;
  Endpoint local, remote;
  DatagramInfo info;
  buf::IoDesc data;
};

struct CallResult {
  Errc error = Errc::ok;
  SocketId socket = 0;
  Endpoint local, remote;
};

enum class InputKind : uint8_t { frame = 1, timer = 2, call = 3 };

struct Input {
  InputKind kind{};
  Instant now;
  LinkIndex link = 0;          // frame
  buf::Frame frame;            // frame
  const Call* call = nullptr;  // call
};

}  // namespace ferry::stack

// The protocol servers as a whole: interfaces, routes, sockets. Sans-IO: every input enters by Stack::handle(), every output
// leaves by Host; so a run can be recorded and replayed (stack/recording.h), and runs at user level, in the kernel, in a test.
//
// Single-threaded: one engine, one Stack. Sockets belong to an `owner`, a number that only the host understands.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/time.h"
#include "buf/packet.h"
#include "port/api/alloc.h"
#include "stack/info.h"
#include "wire/address.h"
#include "wire/flow_share.h"

namespace ferry::tcp {
struct TcpInfo;
}

namespace ferry::stack {

class Engine;
class InputObserver;
class ProtocolServer;

using wire::Endpoint;
using LinkIndex = uint32_t;
// Index and generation of a socket; stale ids are rejected with Errc::bad_socket. 0 is never a socket.
using SocketId = uint64_t;
using Owner = uint64_t;

// A kind of socket: what family, type and protocol of socket(2) name together. Recordings and records hold the numbers.
enum class SocketType : uint8_t { tcp, udp, icmp_echo, sctp /* one-to-one */, sctp_many /* one-to-many */ };
inline constexpr uint32_t kMaxSocketTypes = 16;

// How data passes between a socket and its owner.
//   stream    bytes: Host::place and deliver, Call send and consumed; connects, listens, accepts
//   datagram  Host::deliver_datagram, which may refuse; Call send_datagram
//   message   Host::deliver_message, which may refuse for now: Call consumed says that there is room again; Call send_message;
//             connects, listens, accepts
enum class Style : uint8_t { stream, datagram, message };

// What a protocol server offers.
struct Service {
  SocketType type;
  Style style;
  uint8_t protocol;            // IP protocol number whose datagrams it gets, 0: none
  const char* name;            // "tcp"; constant
  // Style message: one socket has many peers at once. Every message names its peer (or the protocol's control message does), listening and
  // connecting change nothing about what the socket can do, and accept, with the protocol's number of a connection, takes that one out of it
  // as a socket of another type.
  bool many = false;
};

struct DatagramInfo {
  Endpoint remote;
  Endpoint local;      // output: wanted source address, or unspecified
  uint8_t tos = 0;
  uint8_t ttl = 0;     // output: 0 = the socket's
  bool tos_set = false;
  LinkIndex link = 0;
};

// What goes along with a message, or a piece of one (sctp(7)): the protocol and the program know what it means, nobody between them.
struct MessageInfo {
  static constexpr uint32_t kEnd = 1;           // input: the last piece of its message
  static constexpr uint32_t kNotification = 2;  // input: an event of the protocol, not data
  Endpoint remote;                              // output: unspecified for the connected peer
  uint32_t flags = 0;
  uint16_t control_type = 0;                    // of a control message of the protocol's level
  uint16_t control_length = 0;                  // bytes of it, 0: none
  uint8_t control[32] = {};
};

// An ICMP error about something a socket sent (RFC 1122 section 4.2.3.9, 4.1.3.3).
struct IcmpError {
  Errc error = Errc::ok;
  uint8_t type = 0, code = 0;
  uint32_t mtu = 0;       // fragmentation needed: next-hop MTU
  Endpoint remote;        // where the offending datagram went
  wire::IpAddress from;   // who complained
};

// Everything a stack asks of, or tells, the world. Calls come only from inside Stack::handle(), synchronously; the host must
// not call handle() from within one (it may use the const queries).
//
// Life of an owner number: in use from the call that names it (open, set_owner, on_incoming) until the socket was closed or
// aborted by the host *and* on_events(owner, Event::closed) was called; for a connection that lingers after close these
// are far apart, and on_completed and discard keep coming in between. Closing any other socket reports `closed` within the call.
// Children that die before they are accepted report failed | closed, are gone, and need no close.
// While on_events(failed) is under way, Stack::socket_info() tells the error.
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
  // --- messages: as datagrams, but Errc::no_buffers means later; hosts without such sockets need not know them ---
  virtual Status deliver_message(Owner /*owner*/, const MessageInfo& /*info*/, ByteSpan /*payload*/) { return Errc::not_supported; }

  // The first `bytes` of the owner's output not yet completed are no longer referred to.
  virtual void on_completed(Owner owner, uint32_t bytes) = 0;
  // tcp::Event bits.
  virtual void on_events(Owner owner, uint32_t events) = 0;
  // A connection on a listener finished its handshake (or brings data with it); the host names its owner (0 refuses and resets
  // it). Data may be placed for it at once. `child` may be used in calls only after accept.
  virtual Owner on_incoming(Owner listener, SocketId child, const Endpoint& local, const Endpoint& remote) = 0;
  // A child completed its handshake and waits in the listener's accept queue.
  virtual void on_acceptable(Owner listener) = 0;
  // A packet to ourselves, which goes no further than this. For whoever captures.
  virtual void on_loop_back(LinkIndex /*link*/, const buf::Packet& /*packet*/) {}
  // An interface's address was probed for and is ours (usable), or somebody else (`other`) holds it (RFC 5227).
  virtual void on_address(LinkIndex /*link*/, bool /*usable*/, const wire::MacAddress& /*other*/) {}

 protected:
  ~Host() = default;
};

struct InterfaceConfig {
  wire::MacAddress mac;
  wire::Ipv4Prefix prefix;     // own address and its network
  uint32_t mtu = 1500;
  uint32_t max_gso = 0;        // bytes of payload that the link segments, 0: none
  bool checksum_tx = false;
  bool probe = false;          // ask on the link whether the address is free before using it (RFC 5227); see Host::on_address
  bool loopback = false;       // the stack's own 127.0.0.0/8: packets come straight back, never to Host::transmit
};

struct Route {
  wire::Ipv4Prefix destination;
  wire::Ipv4Address gateway;   // unspecified: on link
  LinkIndex link = 0;
};

struct Config {
  uint64_t seed = 0;           // of all randomness: initial sequence numbers, ports, identifications
  uint32_t max_sockets = 65536;          // that the host holds or may accept
  uint32_t max_orphans = 16384;          // connections that linger after close(), besides; beyond it the oldest is reset
  uint16_t ephemeral_first = 32768, ephemeral_last = 60999;  // as Linux's ip_local_port_range
  uint32_t max_backlog = 4096;           // of one listener: half-open and waiting connections, each
  uint32_t max_time_wait = 65536;        // compact TIME_WAIT records; beyond it the oldest is forgotten
  wire::Share share;                     // of the TCP flows, when several stacks are behind one address. Not recorded
  bool own_tcp = true;                   // false: some other server is added for TCP
  uint32_t loopback_bytes = 8u << 20;    // queue of packets to ourselves; beyond it they are dropped
};

// What a host may ask of a socket. Numbers are stable: recordings hold them.
enum class CallOp : uint8_t {
  open = 1,       // type, owner, number = user id (SO_REUSEPORT shares within one user) -> socket
  bind,           // local (port 0: ephemeral), flags (BindFlag) -> local
  listen,         // number = backlog
  connect,        // remote; UDP: sets the default peer; TCP -> error in_progress, then events. Unspecified remote: disconnect
  accept,         // socket = listener -> socket of the child, local, remote; Errc::again when none. Service::many: number = which one
  send,           // TCP: data, flags (SendFlag). Takes all of it or fails; the host respects send_space()
  send_datagram,  // data (payload), info
  consumed,       // number = bytes the owner has read: opens the window
  shutdown,       // number: 1 read, 2 write, 3 both
  close,          // the owner is gone: graceful, or by SO_LINGER; unread data resets (RFC 2525 section 2.17). The id is dead
  abort,          // RST now; the id is dead
  set_option,     // option, number
  set_owner,      // owner (accepted children, re-homing)
  send_echo,      // icmp_echo: remote, number = sequence, data; bind's port is the identifier. Answers are delivered as datagrams: the
                  // whole ICMP message, remote.port = sequence
  send_message,   // data (payload), message. Takes all of it or fails; Errc::again: when Event::writable says so
  set_protocol_option,  // number = its name in the protocol's level of setsockopt(2), value. Errc::no_protocol_option
  // Two connections of this stack with each other, whose owners pass bytes between them by themselves: see Stack::twin.
  settle,         // acknowledges what both have received. Errc::again: something is still under way; not_supported: no twin
  pass,           // number = bytes that the owner has given to its twin's, flags = how many of the last that one has not read. Both have
                  // settled and nothing was sent since; Errc::again otherwise
};

// kBindGranted: the owner knows that the port may be had, among all stacks of this address; neither bind nor listen asks.
enum BindFlag : uint32_t { kBindGranted = 1 };
enum SendFlag : uint32_t { kSendMore = 1, kSendUrgent = 2 };

enum class Option : uint8_t {
  no_delay = 1, cork, keep_alive, keep_idle, keep_interval, keep_count, linger /* seconds; -1 off */, user_timeout /* ms */,
  max_segment, quick_ack, receive_buffer, send_buffer, reuse_address, reuse_port, broadcast, tos, ttl, defer_accept,
  syn_count, congestion /* tcp::cc algorithm number */, oob_inline, linger2, window_clamp, not_sent_low_water, dont_fragment,
  receive_errors, held /* of a listener: connections that accept has given, and that count against the backlog still */,
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
  const MessageInfo* message = nullptr;
  ByteSpan value;
};

struct CallResult {
  Errc error = Errc::ok;
  SocketId socket = 0;
  Endpoint local, remote;
};

enum class InputKind : uint8_t { frame = 1, timer = 2, call = 3, interface = 4, route = 5, restore = 6 };

// One thing that happens to a stack. `now` never goes backwards; an earlier one counts as the latest seen.
struct Input {
  InputKind kind{};
  Instant now;
  LinkIndex link = 0;                          // frame
  buf::Frame frame;                            // frame
  const Call* call = nullptr;                  // call
  const InterfaceConfig* interface = nullptr;  // interface
  const Route* route = nullptr;                // route
  ByteSpan record;                             // restore
};

// Whom a frame's payload will be placed for, and how many bytes of the frame are in front of it.
struct PayloadOwner {
  Owner owner = 0;
  uint32_t header_length = 0;
  bool is_next = false;  // it begins where what has been delivered ends
};

// Largest record that Stack::save() writes, bytes.
inline constexpr size_t kMaxRecordBytes = 64 * 1024;

// One instance per engine. Made by create(), destroyed by ferry::destroy(); destruction says nothing to the host or the
// wire, as if the process had been killed (records saved before can be restored into another stack).
class Stack {
 public:
  // Errc::invalid for a Config out of range, no_memory.
  static Result<Stack*> create(const Config& config, Host& host);
  ~Stack();
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;

  // Installs a protocol server beside Ferry's own (protocol_server.h), before the first input; it outlives the stack. Errc::address_in_use:
  // a type or protocol of it is served already; invalid, too_many.
  Status add_server(ProtocolServer& server);

  // The one entry of all inputs. The result belongs to calls, interfaces (`socket` = LinkIndex) and restored records.
  CallResult handle(const Input& input);
  // When handle() wants a timer input; Instant::never() if not at all. May change with every input.
  Instant next_deadline() const;

  // --- the same entry, typed ---
  void on_frame(Instant now, LinkIndex link, const buf::Frame& frame);
  void on_timer(Instant now);
  CallResult call(Instant now, const Call& call);
  // Interfaces are numbered from 0 in the order of addition. Errc::invalid, too_many, address_in_use, no_memory.
  Result<LinkIndex> add_interface(Instant now, const InterfaceConfig& interface);
  Status add_route(Instant now, const Route& route);
  // Brings back a socket from what save() wrote, under the same SocketId and owner: a connection, a bound or listening socket, a
  // TIME_WAIT. Interfaces must exist, listeners must be restored before the connections that wait on them (save in the order
  // of for_each_record). Errc::malformed, version_mismatch, address_in_use, too_many, no_memory.
  CallResult restore(Instant now, ByteSpan record);

  // --- queries: const, not recorded ---
  // Writes the versioned, pointer-free record of a socket; returns its length. Errc::bad_socket, no_buffers (`out` too small).
  Result<size_t> save(SocketId socket, MutableByteSpan out) const;
  // Calls sink.on_record for every socket and TIME_WAIT, in an order in which they can be restored. Errc::no_memory.
  class RecordSink {
   public:
    virtual void on_record(ByteSpan record) = 0;

   protected:
    ~RecordSink() = default;
  };
  Status for_each_record(RecordSink& sink) const;

  // nullptr: no server offers such sockets.
  const Service* service(SocketType type) const;
  void for_each_socket(SocketVisitor& visitor, Instant now) const;
  void for_each_counter(CounterVisitor& visitor) const;
  void for_each_neighbor(NeighborVisitor& visitor) const;
  uint32_t interface_count() const;
  // nullptr past the last. Valid as long as the stack.
  const InterfaceConfig* interface(LinkIndex link) const;
  Result<SocketInfo> socket_info(SocketId socket, Instant now) const;
  // TCP_INFO; include tcp/connection.h for the type. Errc::bad_socket, not_supported (no connection).
  Result<tcp::TcpInfo> tcp_info(SocketId socket, Instant now) const;
  // Bytes that Call send may hand over now; 0 if not connected.
  uint32_t send_space(SocketId socket) const;
  // Current value of an option (getsockopt). Errc::bad_socket, no_protocol_option.
  Result<int64_t> option(SocketId socket, Option option) const;
  // An option of the protocol's own level: `value` holds what the program asked with (as much as `length`), and gets the answer; returns its
  // length. Errc::bad_socket, no_protocol_option, invalid.
  Result<size_t> protocol_option(SocketId socket, int name, MutableByteSpan value, size_t length) const;
  // Early demultiplexing: `head` has the first bytes of a frame of `frame_length`. If it is a segment of a connection that the host
  // has, and its payload need not be looked at, this says whose; then the frame may come with its payload detached, in memory of that
  // owner. Nothing is promised: Host::place() may still be asked for other bytes, or not at all. Any Errc: let it come whole.
  Result<PayloadOwner> payload_owner(LinkIndex link, const buf::Frame& head, uint32_t frame_length) const;
  // The owner of the other end of a connection whose both ends are this stack's, and accepted. Errc::bad_socket, not_supported: there is none.
  Result<Owner> twin(SocketId socket) const;
  // Whether a route leads to this address, or it is our own: "does this stack serve that destination?"
  bool serves(wire::Ipv4Address destination) const;

  // Sees every input just before it is handled and every answer of the host; nullptr: nobody. Set before the first input.
  void set_observer(InputObserver* observer);

 private:
  explicit Stack(Engine& engine) : engine_(engine) {}
  template <typename T, typename... Args>
  friend T* ferry::make(Args&&... args);
  Engine& engine_;
  InputObserver* observer_ = nullptr;
};

class InputObserver {
 public:
  virtual void on_input(const Input& input) = 0;

 protected:
  ~InputObserver() = default;
};

}  // namespace ferry::stack

// IPv4 of one stack: interfaces, neighbours, routes, fragments, ICMP, composed. stack/ uses this class; the parts are in
// their own headers (list: interface.h). Sans-IO: time and frames come in, frames and upcalls go out through NetworkHost.
//
// In:  on_frame() / on_loopback()  ->  NetworkHost::on_datagram (tcp, udp), on_icmp_error, on_echo_reply
// Out: find_path(); begin() appends Ethernet and IPv4 header room; the transport appends its header and payload; send()
//      fills in the rest: checksums the link cannot make, fragments, the neighbour's address (or the packet waits for it).
//
// Owns: all state below the transports. Does not own: loopback's queue, sockets, MAC addresses' choice.
#pragma once

#include <array>
#include <cstdint>

#include "base/counters.h"
#include "base/result.h"
#include "base/rng.h"
#include "base/time.h"
#include "buf/packet.h"
#include "net/arp.h"
#include "net/icmp.h"
#include "net/interface.h"
#include "net/rate_limit.h"
#include "net/reassembly.h"
#include "net/route.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"

namespace ferry::net {

// A datagram for us, complete (reassembled if need be). Everything is valid until the upcall returns.
struct Datagram {
  LinkIndex link;
  wire::Ipv4View ip;        // a reassembled one looks as if it had come whole
  buf::Offload offload;     // none for a reassembled one
  bool link_broadcast;      // came in a broadcast or multicast frame
  bool broadcast;           // `link_broadcast`, or its destination is a broadcast or multicast address
  ByteSpan detached = {};   // buf::Frame::detached: payload() ends before it

  ByteSpan payload() const { return ip.payload(); }
  // Whether the transport checksum need not be looked at: verified by the link, or never made (same host).
  bool checksum_trusted() const { return offload.checksum_valid || offload.needs_checksum; }
};

// Where a datagram to a destination would go.
struct Path {
  LinkIndex link = 0;
  wire::Ipv4Address source;     // our address there
  wire::Ipv4Address next_hop;
  bool local = false;           // to ourselves: NetworkHost::loop_back
  bool broadcast = false;       // the caller asks for the permission (SO_BROADCAST)
  bool multicast = false;
  uint16_t mtu = 0;             // largest IP packet without fragments
  uint32_t max_gso = 0;         // bytes of payload that may be segmented by the link, 0: none
};

struct Ipv4Header {
  wire::Ipv4Address source, destination;
  uint8_t protocol = 0;
  uint8_t tos = 0;
  uint8_t ttl = 64;
  bool dont_fragment = true;
};

class NetworkHost : public Output {
 public:
  // A frame to ourselves (Ethernet header zero): to be copied into a queue and given back through on_loopback() later,
  // never from within this call. `packet.offload.needs_checksum` stays set. Errc::no_buffers when the queue is full.
  virtual Status loop_back(LinkIndex link, const buf::Packet& packet) = 0;
  // False: no such protocol (an ICMP error is sent, RFC 1122 section 3.2.2.1). What has no socket is the transport's business:
  // Network::send_unreachable.
  virtual bool on_datagram(Instant now, const Datagram& datagram) = 0;
  virtual void on_icmp_error(Instant now, const IcmpError& error) = 0;
  virtual void on_echo_reply(Instant now, const Datagram& datagram, const wire::IcmpView& reply) = 0;
  // Probing has ended, or somebody else turned up with our address: only when the address was added with probing,
  // `usable` false: the address belongs to `other`.
  virtual void on_address(LinkIndex link, bool usable, const wire::MacAddress& other) = 0;

 protected:
  ~NetworkHost() = default;
};

class Network final : private ArpHost {
 public:
  static constexpr uint32_t kMaxInterfaces = 16;

  // `memory` turns the payload descriptors of packets into bytes. All references outlive the network.
  Network(NetworkHost& host, const buf::Memory& memory, Counters& counters, uint64_t seed);
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  // Adds the interface and its on-link route; `interface.link` must be the number of interfaces so far. `probe`: the address is
  // not usable before it was probed for (RFC 5227; see NetworkHost::on_address), else it is announced at once.
  // Errc::invalid (mtu, prefix, link), too_many, address_in_use (another interface has it), no_memory.
  Status add_interface(Instant now, const Interface& interface, bool probe = false);
  // Errc::invalid: no such link, or the gateway is not on it. too_many.
  Status add_route(const Route& route);
  uint32_t interface_count() const { return interface_count_; }
  // nullptr past the last.
  const Interface* interface(LinkIndex link) const;
  bool is_local(wire::Ipv4Address address) const;
  const RouteTable& routes() const { return routes_; }
  // Calls visit(LinkIndex, const Neighbor&) for every neighbour.
  template <typename Visit>
  void for_each_neighbor(Visit&& visit) const {
    for (uint32_t i = 0; i < interface_count_; ++i)
      if (arps_[i] != nullptr) arps_[i]->table().for_each([&](const Neighbor& n) { visit(i, n); });
  }

  // --- inputs ---
  void on_frame(Instant now, LinkIndex link, const buf::Frame& frame);
  // A frame that loop_back() was given.
  void on_loopback(Instant now, LinkIndex link, const buf::Frame& frame);
  void on_timer(Instant now);
  // May become earlier with every input and every packet sent.
  Instant next_deadline() const;

  // --- output ---
  // Errc::net_unreachable without a route, address_not_available when `source` (unspecified: any) is not ours.
  Result<Path> find_path(wire::Ipv4Address destination, wire::Ipv4Address source = {}) const;
  // Empties `packet` and makes room for the Ethernet and IPv4 headers; the transport header goes behind them.
  static void begin(buf::Packet& packet);
  static constexpr size_t kTransportOffset = wire::kEthernetHeaderBytes + wire::kIpv4HeaderBytes;
  // Sends a packet begun with begin(). If offload.needs_checksum is set, the checksum field holds the pseudo-header's sum, and
  // is completed here unless the link does it. Errc: message_size (too big and dont_fragment, or beyond 65535),
  // address_not_available (being probed), host_unreachable (the neighbour did not answer lately), again / no_buffers (the link,
  // the loopback or the waiting queue is full). Counted.
  Status send(Instant now, const Path& path, const Ipv4Header& header, buf::Packet& packet);
  // Advice of the layers above (RFC 1122 section 2.3.2.1 (4)): what went this way was not answered in time, so the address of
  // the next hop is looked for anew.
  void doubt(Instant now, const Path& path);
  // "Destination unreachable" about a datagram, under the rules and rate of RFC 1122 and 1812. Never fails: an error not sent is
  // counted.
  void send_unreachable(Instant now, const Datagram& about, wire::IcmpUnreachableCode code);
  // An echo request for `ferry ping` and SOCK_DGRAM ICMP sockets. Data by reference. Errors as find_path and send.
  Status send_echo(Instant now, wire::Ipv4Address destination, uint16_t identifier, uint16_t sequence,
                   const buf::IoDesc& data, uint8_t ttl = 64);

 private:
  Status transmit(LinkIndex link, const buf::Packet& frame) override;
  void on_unresolved(Instant now, LinkIndex link, ByteSpan frame) override;
  void on_address(LinkIndex link, bool usable, const wire::MacAddress& other) override;

  // `bytes`: the frame's without its Ethernet header.
  void on_ip(Instant now, const Interface& in, ByteSpan bytes, const buf::Frame& frame, bool link_broadcast, bool from_loopback);
  void on_fragment(Instant now, const Interface& in, const wire::Ipv4View& ip, bool link_broadcast);
  void deliver(Instant now, const Datagram& datagram);
  void on_icmp(Instant now, const Datagram& datagram);
  void answer_echo(Instant now, const Datagram& datagram, const wire::IcmpView& request);
  void send_icmp_error(Instant now, const Interface& in, const wire::Ipv4View& about, bool link_broadcast, uint8_t type,
                       uint8_t code);
  bool accepts_source(const Interface& in, wire::Ipv4Address source) const;
  bool accepts_destination(const Interface& in, wire::Ipv4Address destination) const;
  const Interface* first_link_interface(wire::Ipv4Address with_address) const;
  Status refuse(Drop reason, Errc error);
  uint16_t next_identification(const Ipv4Header& header);
  Status send_local(const Path& path, buf::Packet& packet);
  Status send_fragments(Instant now, const Path& path, wire::Ipv4Fields ip, buf::Packet& packet);
  Status to_link(Instant now, const Path& path, buf::Packet& packet);

  NetworkHost& host_;
  const buf::Memory& memory_;
  Counters& counters_;
  Rng rng_;
  RouteTable routes_;
  std::array<Interface, kMaxInterfaces> interfaces_;
  std::array<Arp*, kMaxInterfaces> arps_{};
  uint32_t interface_count_ = 0;
  Reassembler reassembler_;
  TokenBucket error_rate_;
  SipKey id_key_;           // of IP identifications, per pair of addresses (RFC 7739 section 5.1)
  uint32_t id_counter_ = 0;
};

}  // namespace ferry::net

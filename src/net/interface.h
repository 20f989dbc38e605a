// What the network layer knows of a link: addresses, sizes, and what the link does for us.
// The headers of net/: network.h (IPv4 as a whole; what stack/ uses), and its parts: interface.h, route.h, arp.h, neighbor_table.h,
// address_guard.h, ipv4_header.h, fragmenter.h, reassembly.h, icmp.h, rate_limit.h, output_checksum.h.
#pragma once

#include <cstdint>

#include "buf/packet.h"
#include "wire/address.h"

namespace ferry::net {

using LinkIndex = uint32_t;

struct Interface {
  LinkIndex link = 0;
  wire::MacAddress mac;
  wire::Ipv4Prefix prefix;   // own address and its network
  uint32_t mtu = 1500;       // largest IP packet on the wire, 576..65535
  uint32_t max_gso = 0;      // bytes of payload that the link segments, 0: none
  bool checksum_tx = false;  // the link finishes transport checksums
  bool quiet = false;        // another stack answers for the address: ours learns of neighbours, and asks for them, only
  bool loopback = false;     // the stack's own 127.0.0.0/8: no link, no ARP
};

// Whether `a` is a broadcast address as seen from this interface (RFC 1122 section 3.2.1.3).
constexpr bool is_broadcast(const Interface& i, wire::Ipv4Address a) {
  return a.is_limited_broadcast() || (i.prefix.length < 31 && !i.loopback && a == i.prefix.broadcast());
}

// Where complete frames go, beginning with their Ethernet header.
class Output {
 public:
  // A refusal (Errc::again, no_buffers) loses the frame; the implementer counts it.
  virtual Status transmit(LinkIndex link, const buf::Packet& frame) = 0;

 protected:
  ~Output() = default;
};

}  // namespace ferry::net

// Interfaces, paths and timers of IPv4.
#include "net/network.h"

#include "port/api/alloc.h"

namespace ferry::net {
namespace {

// RFC 1812 section 4.3.2.8; the figures are Linux's icmp_msgs_per_sec and icmp_msgs_burst.
constexpr uint32_t kErrorBurst = 50;
constexpr Duration kErrorInterval = Duration::ms(1);

constexpr uint32_t kMinMtu = 68;  // RFC 791 section 3.2

bool usable_address(const wire::Ipv4Prefix& p) {
  if (p.length == 0 || p.length > 32 || p.address.is_any() || p.address.value >> 28 >= 14) return false;
  if (p.length >= 31) return true;  // RFC 3021: no broadcast address
  return p.address != p.broadcast() && (p.address.value & ~p.mask()) != 0;
}

}  // namespace

Network::Network(NetworkHost& host, const buf::Memory& memory, Counters& counters, uint64_t seed)
    : host_(host),
      memory_(memory),
      counters_(counters),
      rng_(seed),
      reassembler_(counters),
      error_rate_(kErrorBurst, kErrorInterval),
      id_key_{rng_.next(), rng_.next()} {}

Network::~Network() {
  for (uint32_t i = 0; i < interface_count_; ++i) destroy(arps_[i]);
}

Status Network::add_interface(Instant now, const Interface& interface, bool probe) {
  if (interface_count_ == kMaxInterfaces) return Errc::too_many;
  if (interface.link != interface_count_ || interface.mtu < kMinMtu || interface.mtu > buf::kMaxIpPacket ||
      !usable_address(interface.prefix))
    return Errc::invalid;
  if (interface.prefix.address.is_loopback() != interface.loopback) return Errc::invalid;
  if (is_local(interface.prefix.address)) return Errc::address_in_use;
  Arp* arp = nullptr;
  if (!interface.loopback) {
    FERRY_TRY(routes_.add({interface.prefix, {}, interface.link}));
    arp = make<Arp>(static_cast<ArpHost&>(*this), counters_, interface, rng_.next());
    if (arp == nullptr) return Errc::no_memory;
  }
  interfaces_[interface_count_] = interface;
  arps_[interface_count_] = arp;
  ++interface_count_;
  if (arp != nullptr) arp->start(now, probe);
  return {};
}

Status Network::add_route(const Route& route) {
  const Interface* out = interface(route.link);
  if (out == nullptr || out->loopback) return Errc::invalid;
  if (!route.gateway.is_any() && (!out->prefix.contains(route.gateway) || is_local(route.gateway))) return Errc::invalid;
  return routes_.add(route);
}

const Interface* Network::interface(LinkIndex link) const {
  return link < interface_count_ ? &interfaces_[link] : nullptr;
}

bool Network::is_local(wire::Ipv4Address address) const {
  for (uint32_t i = 0; i < interface_count_; ++i) {
    const wire::Ipv4Prefix& prefix = interfaces_[i].prefix;
    if (address == prefix.address || (interfaces_[i].loopback && prefix.contains(address))) return true;
  }
  return false;
}

// The interface that has this address, or the first at all for an unspecified one; loopback aside.
const Interface* Network::first_link_interface(wire::Ipv4Address with_address) const {
  for (uint32_t i = 0; i < interface_count_; ++i) {
    const Interface& candidate = interfaces_[i];
    if (!candidate.loopback && (with_address.is_any() || candidate.prefix.address == with_address)) return &candidate;
  }
  return nullptr;
}

Result<Path> Network::find_path(wire::Ipv4Address destination, wire::Ipv4Address source) const {
  if (!source.is_any() && !is_local(source)) return Errc::address_not_available;
  Path path;
  if (is_local(destination)) {
    path.local = true;
    path.next_hop = destination;
    path.mtu = buf::kMaxIpPacket;
    for (uint32_t i = interface_count_; i-- > 0;) {
      const Interface& own = interfaces_[i];
      const bool owns = own.prefix.address == destination || (own.loopback && own.prefix.contains(destination));
      if (owns) path.link = own.link, path.source = own.prefix.address;
    }
    if (!source.is_any()) path.source = source;
    return path;
  }
  if (destination.is_any() || destination.is_loopback()) return Errc::net_unreachable;

  const Interface* out = nullptr;
  path.next_hop = destination;
  const Route* route = destination.is_limited_broadcast() ? nullptr : routes_.find(destination);
  if (route != nullptr) {
    out = &interfaces_[route->link];
    if (!route->gateway.is_any()) path.next_hop = route->gateway;
  } else if (destination.is_limited_broadcast() || destination.is_multicast()) {
    out = first_link_interface(source);
  }
  if (out == nullptr) return Errc::net_unreachable;
  path.link = out->link;
  path.source = source.is_any() ? out->prefix.address : source;
  path.broadcast = is_broadcast(*out, destination);
  path.multicast = destination.is_multicast();
  path.mtu = static_cast<uint16_t>(out->mtu);
  path.max_gso = out->max_gso;
  return path;
}

void Network::on_timer(Instant now) {
  for (uint32_t i = 0; i < interface_count_; ++i)
    if (arps_[i] != nullptr) arps_[i]->on_timer(now);
  // RFC 1122 section 3.3.2: tell the sender, if the beginning is there to be quoted.
  reassembler_.expire(now, [&](LinkIndex link, const wire::Ipv4View& beginning) {
    send_icmp_error(now, interfaces_[link], beginning, false, wire::kIcmpTimeExceeded, wire::kReassemblyTimeExceeded);
  });
}

Instant Network::next_deadline() const {
  Instant deadline = reassembler_.next_deadline();
  for (uint32_t i = 0; i < interface_count_; ++i)
    if (arps_[i] != nullptr) deadline = earlier(deadline, arps_[i]->next_deadline());
  return deadline;
}

Status Network::transmit(LinkIndex link, const buf::Packet& frame) {
  Status sent = host_.transmit(link, frame);
  if (!sent) {
    counters_.drop(Drop::link_refused);
    return sent;
  }
  ++counters_.frames_out;
  counters_.bytes_out += frame.frame_length();
  return sent;
}

void Network::on_address(LinkIndex link, bool usable, const wire::MacAddress& other) {
  host_.on_address(link, usable, other);
}

// As if the router next door had said so (RFC 1122 section 2.3.2.2).
void Network::on_unresolved(Instant now, LinkIndex link, ByteSpan frame) {
  auto error = explain_error(wire::kIcmpUnreachable, wire::kHostUnreachable, 0, interfaces_[link].prefix.address,
                             frame.subspan(wire::kEthernetHeaderBytes));
  if (error) host_.on_icmp_error(now, *error);
}

}  // namespace ferry::net

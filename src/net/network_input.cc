// What comes in: Ethernet, IPv4 and ICMP, each check with its drop reason, up to the transports.
#include "net/network.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"

namespace ferry::net {

void Network::on_frame(Instant now, LinkIndex link, const buf::Frame& frame) {
  const Interface* in = interface(link);
  if (in == nullptr || in->loopback) return;
  ++counters_.frames_in;
  counters_.bytes_in += frame.size();
  auto ethernet = wire::EthernetView::parse(frame.bytes);
  if (!ethernet) return counters_.drop(Drop::ethernet_malformed);
  const wire::MacAddress destination = ethernet->destination();
  const bool group = destination.is_group();
  if (!group && destination != in->mac) return counters_.drop(Drop::ethernet_other_host);
  if (ethernet->source() == in->mac) return counters_.drop(Drop::ethernet_loop);
  if (ethernet->is_vlan()) return counters_.drop(Drop::ethernet_vlan);
  switch (ethernet->type()) {
    case wire::kEtherArp: arps_[link]->on_packet(now, ethernet->payload()); break;
    case wire::kEtherIpv4: on_ip(now, *in, ethernet->payload(), frame, group, false); break;
    default: counters_.drop(Drop::ethernet_type);
  }
}

void Network::on_loopback(Instant now, LinkIndex link, const buf::Frame& frame) {
  const Interface* in = interface(link);
  if (in == nullptr || frame.bytes.size() < wire::kEthernetHeaderBytes) return;
  ++counters_.frames_in;
  counters_.bytes_in += frame.bytes.size();
  on_ip(now, *in, frame.bytes.subspan(wire::kEthernetHeaderBytes), frame, false, true);
}

// A source must be one host (RFC 1122 section 3.2.1.3), and from outside not ourselves.
bool Network::accepts_source(const Interface& in, wire::Ipv4Address source) const {
  return !source.is_any() && source.value >> 28 < 14 && !is_broadcast(in, source) && !source.is_loopback() &&
         !is_local(source);
}

bool Network::accepts_destination(const Interface& in, wire::Ipv4Address destination) const {
  if (is_broadcast(in, destination)) return true;
  return is_local(destination) && !destination.is_loopback();
}

void Network::on_ip(Instant now, const Interface& in, ByteSpan bytes, const buf::Frame& frame, bool link_broadcast,
                    bool from_loopback) {
  ++counters_.ip_in;
  const bool uncut = frame.offload.uncut_v4();
  auto ip = frame.detached.empty() ? wire::Ipv4View::parse(bytes, uncut) : wire::Ipv4View::parse_detached(bytes, frame.detached.size(), uncut);
  if (!ip) return counters_.drop(Drop::ip_malformed);
  if (!ip->checksum_ok()) return counters_.drop(Drop::ip_checksum);
  const wire::Ipv4Address destination = ip->destination();
  const bool broadcast = is_broadcast(in, destination) || destination.is_multicast();
  if (from_loopback) {
    if (!is_local(ip->source())) return counters_.drop(Drop::ip_source_address);
    if (!is_local(destination)) return counters_.drop(Drop::ip_not_ours);
  } else {
    if (!accepts_source(in, ip->source())) return counters_.drop(Drop::ip_source_address);
    // RFC 1122 section 3.3.6: a broadcast frame with a datagram for one host is somebody's mistake.
    if (!accepts_destination(in, destination) || (link_broadcast && !broadcast)) return counters_.drop(Drop::ip_not_ours);
  }
  if (ip->has_source_route()) return counters_.drop(Drop::ip_source_route);
  if (!frame.detached.empty() && (ip->is_fragment() || ip->protocol() != wire::kProtocolTcp)) return counters_.drop(Drop::ip_malformed);
  if (ip->is_fragment()) return on_fragment(now, in, *ip, link_broadcast);
  deliver(now, Datagram{in.link, *ip, frame.offload, link_broadcast, link_broadcast || broadcast, frame.detached});
}

void Network::on_fragment(Instant now, const Interface& in, const wire::Ipv4View& fragment, bool link_broadcast) {
  auto whole = reassembler_.add(now, in.link, fragment);
  if (!whole) return;
  const bool broadcast = link_broadcast || is_broadcast(in, whole->destination());
  deliver(now, Datagram{in.link, *whole, {}, link_broadcast, broadcast});
}

void Network::deliver(Instant now, const Datagram& datagram) {
  ++counters_.ip_delivered;
  if (datagram.ip.protocol() == wire::kProtocolIcmp) return on_icmp(now, datagram);
  if (host_.on_datagram(now, datagram)) return;
  counters_.drop(Drop::ip_protocol);
  send_unreachable(now, datagram, wire::kProtocolUnreachable);
}

void Network::on_icmp(Instant now, const Datagram& datagram) {
  ++counters_.icmp_in;
  auto message = wire::IcmpView::parse(datagram.payload());
  if (!message) return counters_.drop(Drop::icmp_malformed);
  if (!datagram.checksum_trusted() && !message->checksum_ok()) return counters_.drop(Drop::icmp_checksum);
  if (message->type() == wire::kIcmpEcho) {
    ++counters_.icmp_echo_in;
    if (datagram.broadcast) return counters_.drop(Drop::icmp_broadcast);
    return answer_echo(now, datagram, *message);
  }
  if (message->type() == wire::kIcmpEchoReply) {
    ++counters_.icmp_echo_replies_in;
    return host_.on_echo_reply(now, datagram, *message);
  }
  if (!message->is_error()) return counters_.drop(Drop::icmp_type);
  ++counters_.icmp_errors_in;
  auto error = read_icmp_error(datagram.ip, *message);
  // RFC 5927 section 4: only about what we can have sent.
  if (!error || datagram.broadcast || !is_local(error->local.address.v4())) return counters_.drop(Drop::icmp_quote);
  host_.on_icmp_error(now, *error);
}

}  // namespace ferry::net

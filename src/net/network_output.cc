// What goes out: headers, fragments, checksums that the link cannot make, and the ICMP messages of our own.
#include "net/fragmenter.h"
#include "net/network.h"
#include "net/output_checksum.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"

namespace ferry::net {
namespace {

constexpr uint8_t kInternetworkControl = 0xc0;  // precedence of ICMP errors, RFC 1812 section 4.3.2.5

// RFC 1112 section 6.4.
wire::MacAddress multicast_mac(wire::Ipv4Address a) {
  return {{0x01, 0x00, 0x5e, static_cast<uint8_t>(a.value >> 16 & 0x7f), static_cast<uint8_t>(a.value >> 8),
           static_cast<uint8_t>(a.value)}};
}

}  // namespace

void Network::begin(buf::Packet& packet) {
  packet.header_length = kTransportOffset;
  packet.part_count = 0;
  packet.payload_length = 0;
  packet.tail = {};
  packet.offload = {};
}

Status Network::refuse(Drop reason, Errc error) {
  counters_.drop(reason);
  return error;
}

// RFC 6864: the value matters only for what may be fragmented; there it must not repeat soon for a pair of hosts, nor be
// guessed by a third (RFC 7739 section 5.1).
uint16_t Network::next_identification(const Ipv4Header& header) {
  ++id_counter_;
  if (header.dont_fragment) return static_cast<uint16_t>(id_counter_);
  std::array<std::byte, 9> pair;
  store_be32(pair, 0, header.source.value);
  store_be32(pair, 4, header.destination.value);
  store_u8(pair, 8, header.protocol);
  return static_cast<uint16_t>(siphash(id_key_, pair) + id_counter_);
}

Status Network::send(Instant now, const Path& path, const Ipv4Header& header, buf::Packet& packet) {
  const Interface& out = interfaces_[path.link];
  const uint32_t length = packet.frame_length() - static_cast<uint32_t>(wire::kEthernetHeaderBytes);
  const bool uncut = packet.offload.uncut_v4() && !path.local && packet.payload_length <= out.max_gso;
  if (length > (uncut ? buf::kMaxSuperPacket : buf::kMaxIpPacket)) return refuse(Drop::ip_too_big, Errc::message_size);
  wire::Ipv4Fields ip;
  ip.tos = header.tos;
  ip.total_length = length <= buf::kMaxIpPacket ? static_cast<uint16_t>(length) : 0;  // see kMaxSuperPacket
  ip.identification = next_identification(header);
  ip.dont_fragment = header.dont_fragment;
  ip.ttl = header.ttl;
  ip.protocol = header.protocol;
  ip.source = header.source;
  ip.destination = header.destination;
  const MutableByteSpan headers(packet.headers);
  wire::EthernetFields{{}, path.local ? wire::MacAddress{} : out.mac, wire::kEtherIpv4}.emit(headers);
  ip.emit(headers.subspan(wire::kEthernetHeaderBytes));
  ++counters_.ip_out;
  if (path.local) return send_local(path, packet);

  if (arps_[path.link] == nullptr || !arps_[path.link]->address_usable())
    return refuse(Drop::address_tentative, Errc::address_not_available);
  buf::Offload& offload = packet.offload;
  if (offload.gso_size == 0 || packet.payload_length <= offload.gso_size) {
    offload.gso_type = buf::GsoType::none;
    offload.gso_size = 0;
  }
  if (offload.gso_type != buf::GsoType::none) {
    const uint32_t segment = packet.header_length - static_cast<uint32_t>(wire::kEthernetHeaderBytes) + offload.gso_size;
    if (out.max_gso == 0 || segment > out.mtu) return refuse(Drop::ip_too_big, Errc::message_size);
  } else if (length > out.mtu) {
    if (header.dont_fragment) return refuse(Drop::ip_too_big, Errc::message_size);
    return send_fragments(now, path, ip, packet);
  }
  if (!out.checksum_tx && !complete_checksum(packet, memory_, counters_))
    return refuse(Drop::ip_payload_gone, Errc::invalid);
  return to_link(now, path, packet);
}

Status Network::send_local(const Path& path, buf::Packet& packet) {
  Status queued = host_.loop_back(path.link, packet);
  if (!queued) {
    counters_.drop(Drop::loopback_full);
    return queued;
  }
  ++counters_.frames_out;
  counters_.bytes_out += packet.frame_length();
  return queued;
}

Status Network::send_fragments(Instant now, const Path& path, wire::Ipv4Fields ip, buf::Packet& packet) {
  if (!complete_checksum(packet, memory_, counters_)) return refuse(Drop::ip_payload_gone, Errc::invalid);
  const Interface& out = interfaces_[path.link];
  const uint32_t total = ip.total_length - static_cast<uint32_t>(wire::kIpv4HeaderBytes);
  const uint32_t step = (out.mtu - static_cast<uint32_t>(wire::kIpv4HeaderBytes)) / 8 * 8;
  ++counters_.datagrams_fragmented;
  for (uint32_t offset = 0; offset < total; offset += step) {
    const uint32_t length = total - offset < step ? total - offset : step;
    buf::Packet fragment;
    begin(fragment);
    ip.total_length = static_cast<uint16_t>(wire::kIpv4HeaderBytes + length);
    ip.fragment_offset = static_cast<uint16_t>(offset);
    ip.more_fragments = offset + length < total;
    const MutableByteSpan headers(fragment.headers);
    wire::EthernetFields{{}, out.mac, wire::kEtherIpv4}.emit(headers);
    ip.emit(headers.subspan(wire::kEthernetHeaderBytes));
    if (!append_slice(fragment, packet, kTransportOffset, offset, length))
      return refuse(Drop::ip_payload_gone, Errc::invalid);
    ++counters_.fragments_out;
    FERRY_TRY(to_link(now, path, fragment));
  }
  return {};
}

void Network::doubt(Instant now, const Path& path) {
  if (!path.local && arps_[path.link] != nullptr) arps_[path.link]->doubt(now, path.next_hop);
}

Status Network::to_link(Instant now, const Path& path, buf::Packet& packet) {
  if (!path.broadcast && !path.multicast) return arps_[path.link]->send(now, path.next_hop, packet, memory_);
  wire::store_mac(MutableByteSpan(packet.headers), 0,
                  path.broadcast ? wire::MacAddress::broadcast() : multicast_mac(path.next_hop));
  return transmit(path.link, packet);
}

void Network::answer_echo(Instant now, const Datagram& datagram, const wire::IcmpView& request) {
  auto path = find_path(datagram.ip.source(), datagram.ip.destination());
  if (!path) return counters_.drop(Drop::ip_no_route);
  buf::Packet packet;
  begin(packet);
  wire::IcmpFields reply{wire::kIcmpEchoReply, 0, 0, request.rest()};
  reply.seal(request.data());
  reply.emit(packet.append_header(wire::IcmpFields::size()));
  packet.tail = request.data();
  packet.payload_length = static_cast<uint32_t>(packet.tail.size());
  Ipv4Header header{datagram.ip.destination(), datagram.ip.source(), wire::kProtocolIcmp, datagram.ip.tos()};
  header.dont_fragment = false;
  ++counters_.icmp_echo_replies_out;
  (void)send(now, *path, header, packet);  // counted there; the peer asks again
}

void Network::send_unreachable(Instant now, const Datagram& about, wire::IcmpUnreachableCode code) {
  const Interface* in = interface(about.link);
  FERRY_ASSERT(in != nullptr);
  send_icmp_error(now, *in, about.ip, about.link_broadcast, wire::kIcmpUnreachable, code);
}

void Network::send_icmp_error(Instant now, const Interface& in, const wire::Ipv4View& about, bool link_broadcast,
                              uint8_t type, uint8_t code) {
  if (!may_send_error(in, about, link_broadcast)) return;
  if (!error_rate_.take(now)) return counters_.drop(Drop::icmp_rate_limited);
  auto path = find_path(about.source(), about.destination());
  if (!path) return counters_.drop(Drop::ip_no_route);
  const ByteSpan quote = about.bytes().first(about.bytes().size() < kMaxQuote ? about.bytes().size() : kMaxQuote);
  buf::Packet packet;
  begin(packet);
  wire::IcmpFields error{type, code, 0, 0};
  error.seal(quote);
  error.emit(packet.append_header(wire::IcmpFields::size()));
  packet.tail = quote;
  packet.payload_length = static_cast<uint32_t>(quote.size());
  Ipv4Header header{path->source, about.source(), wire::kProtocolIcmp, kInternetworkControl};
  header.dont_fragment = false;
  ++counters_.icmp_errors_out;
  (void)send(now, *path, header, packet);  // counted there
}

Status Network::send_echo(Instant now, wire::Ipv4Address destination, uint16_t identifier, uint16_t sequence,
                          const buf::IoDesc& data, uint8_t ttl) {
  auto path = find_path(destination);
  if (!path) return refuse(Drop::ip_no_route, path.error());
  buf::Packet packet;
  begin(packet);
  const wire::IcmpFields request{wire::kIcmpEcho, 0, 0, uint32_t{identifier} << 16 | sequence};
  request.emit(packet.append_header(wire::IcmpFields::size()));
  if (!data.empty() && !packet.append_part(data)) return Errc::invalid;
  packet.offload.needs_checksum = true;
  packet.offload.checksum_start = kTransportOffset;
  packet.offload.checksum_offset = wire::kIcmpChecksumOffset;
  if (!complete_checksum(packet, memory_, counters_)) return refuse(Drop::ip_payload_gone, Errc::invalid);
  Ipv4Header header{path->source, destination, wire::kProtocolIcmp, 0, ttl};
  header.dont_fragment = false;
  ++counters_.icmp_echo_out;
  return send(now, *path, header, packet);
}

}  // namespace ferry::net

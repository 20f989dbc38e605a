// Checking and building UDP datagrams.
#include "udp/datagram.h"

#include "wire/checksum.h"

namespace ferry::udp {

Result<wire::UdpView> receive(const net::Datagram& datagram, Counters& counters) {
  ++counters.udp_in;
  auto udp = wire::UdpView::parse(datagram.payload());
  if (!udp) {
    counters.drop(Drop::udp_malformed);
    return Errc::malformed;
  }
  if (udp->checksum() != 0 && !datagram.checksum_trusted()) {
    const wire::Checksum sum = wire::pseudo_header(datagram.ip.source(), datagram.ip.destination(), wire::kProtocolUdp,
                                                   static_cast<uint32_t>(udp->bytes().size()));
    counters.payload_bytes_summed += udp->payload().size();
    if (!wire::checksum_ok(sum, udp->bytes())) {
      counters.drop(Drop::udp_checksum);
      return Errc::malformed;
    }
  }
  return udp;
}

Status append_header(buf::Packet& packet, wire::Ipv4Address source, uint16_t source_port, wire::Ipv4Address destination,
                     uint16_t destination_port, uint32_t payload_length) {
  if (payload_length > kMaxPayload) return Errc::message_size;
  const uint16_t length = static_cast<uint16_t>(wire::kUdpHeaderBytes + payload_length);
  packet.offload.needs_checksum = true;
  packet.offload.checksum_start = packet.header_length;
  packet.offload.checksum_offset = wire::kUdpChecksumOffset;
  const wire::Checksum sum = wire::pseudo_header(source, destination, wire::kProtocolUdp, length);
  wire::UdpFields{source_port, destination_port, length, sum.partial()}.emit(
      packet.append_header(wire::UdpFields::size()));
  return {};
}

}  // namespace ferry::udp

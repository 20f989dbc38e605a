// Whose payload is this? Asked of the first bytes of a frame, before its payload is received (docs/architecture.md, "Early
// demultiplexing"). A quick look that changes nothing: every check of the protocols comes when the frame does.
#include "stack/engine.h"
#include "wire/ethernet.h"
#include "wire/tcp.h"

namespace ferry::stack {

Result<PayloadOwner> Engine::payload_owner(LinkIndex link, const buf::Frame& head, uint32_t frame_length) const {
  const InterfaceConfig* in = interface(link);
  if (in == nullptr || !(head.offload.checksum_valid || head.offload.needs_checksum)) return Errc::not_supported;
  auto ethernet = wire::EthernetView::parse(head.bytes);
  if (!ethernet || ethernet->type() != wire::kEtherIpv4 || ethernet->destination() != in->mac) return Errc::not_supported;
  auto ip = wire::Ipv4View::parse_quoted(ethernet->payload());
  if (!ip || ip->is_fragment() || ip->protocol() != wire::kProtocolTcp) return Errc::not_supported;
  if (wire::kEthernetHeaderBytes + ip->total_length() != frame_length) return Errc::not_supported;
  auto tcp = wire::TcpView::parse(ip->payload());
  if (!tcp) return Errc::not_supported;
  const Endpoint local{wire::IpAddress::from(ip->destination()), tcp->destination_port()};
  const Endpoint remote{wire::IpAddress::from(ip->source()), tcp->source_port()};
  const Flow* flow = flows_.look_up(wire::kProtocolTcp, local, remote);
  if (flow == nullptr || flow->flow_kind != FlowKind::connection) return Errc::bad_socket;
  const auto& socket = *static_cast<const TcpSocket*>(flow);
  if (socket.owner == 0 || socket.id_dead) return Errc::bad_socket;
  const size_t headers = wire::kEthernetHeaderBytes + ip->header_length() + tcp->header_length();
  return PayloadOwner{socket.owner, static_cast<uint32_t>(headers)};
}

}  // namespace ferry::stack

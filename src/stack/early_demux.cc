// Whose payload is this? Asked of the first bytes of a frame, before its payload is received (docs/architecture.md, "Early
// demultiplexing"). A quick look that changes nothing: every check of the protocols comes when the frame does.
#include "stack/engine.h"
#include "wire/ethernet.h"

namespace ferry::stack {

Result<PayloadOwner> Engine::payload_owner(LinkIndex link, const buf::Frame& head, uint32_t frame_length) const {
  const InterfaceConfig* in = interface(link);
  if (in == nullptr || head.bytes.size() > frame_length || !(head.offload.checksum_valid || head.offload.needs_checksum)) return Errc::not_supported;
  auto ethernet = wire::EthernetView::parse(head.bytes);
  if (!ethernet || ethernet->type() != wire::kEtherIpv4 || ethernet->destination() != in->mac) return Errc::not_supported;
  auto ip = wire::Ipv4View::parse_detached(ethernet->payload(), frame_length - head.bytes.size(), head.offload.uncut_v4());
  if (!ip || ip->is_fragment()) return Errc::not_supported;
  const ProtocolServer* server = by_protocol_[ip->protocol()];
  if (server == nullptr) return Errc::not_supported;
  auto owner = server->payload_owner(*ip);
  if (owner) owner->header_length += static_cast<uint32_t>(wire::kEthernetHeaderBytes + ip->header_length());
  return owner;
}

}  // namespace ferry::stack

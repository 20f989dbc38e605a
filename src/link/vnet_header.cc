#include "link/vnet_header.h"

namespace ferry::link {
namespace {
constexpr uint8_t kNeedsChecksum = 1, kDataValid = 2;
constexpr uint8_t kGsoNone = 0, kGsoTcpV4 = 1, kGsoTcpV6 = 4, kGsoUdpL4 = 5, kGsoEcn = 0x80;
}  // namespace

VnetHeader encode_vnet(const buf::Offload& offload, uint16_t header_length) {
  VnetHeader h;
  if (offload.needs_checksum) {
    h.flags = kNeedsChecksum;
    h.checksum_start = offload.checksum_start;
    h.checksum_offset = offload.checksum_offset;
  }
  h.header_length = header_length;  // the kernel keeps that much of the frame in one piece
  if (offload.gso_type == buf::GsoType::none) return h;
  h.gso_size = offload.gso_size;
  switch (offload.gso_type) {
    case buf::GsoType::none: break;
    case buf::GsoType::tcp_v4: h.gso_type = kGsoTcpV4; break;
    case buf::GsoType::tcp_v6: h.gso_type = kGsoTcpV6; break;
    case buf::GsoType::udp_l4: h.gso_type = kGsoUdpL4; break;
  }
  if (offload.ecn && offload.gso_type != buf::GsoType::udp_l4) h.gso_type |= kGsoEcn;
  return h;
}

bool decode_vnet(const VnetHeader& h, uint32_t frame_length, buf::Offload& offload) {
  offload = buf::Offload{};
  if ((h.flags & kNeedsChecksum) != 0) {
    if (uint32_t{h.checksum_start} + h.checksum_offset + 2 > frame_length) return false;
    offload.needs_checksum = true;
    offload.checksum_start = h.checksum_start;
    offload.checksum_offset = h.checksum_offset;
  }
  offload.checksum_valid = (h.flags & kDataValid) != 0;
  switch (h.gso_type & ~kGsoEcn) {
    case kGsoNone: return true;
    case kGsoTcpV4: offload.gso_type = buf::GsoType::tcp_v4; break;
    case kGsoTcpV6: offload.gso_type = buf::GsoType::tcp_v6; break;
    case kGsoUdpL4: offload.gso_type = buf::GsoType::udp_l4; break;
    default: return false;
  }
  offload.gso_size = h.gso_size;
  offload.ecn = (h.gso_type & kGsoEcn) != 0;
  return h.gso_size != 0;
}

}  // namespace ferry::link

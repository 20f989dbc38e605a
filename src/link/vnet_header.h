// struct virtio_net_hdr (virtio 1.2, section 5.1.6), the ten bytes before every frame of a packet or tap socket with offloads,
// in the host's byte order; and its translation from and to buf::Offload. The kernel's own header does not compile as C++.
#pragma once

#include <cstdint>

#include "buf/packet.h"

namespace ferry::link {

struct VnetHeader {
  uint8_t flags = 0;
  uint8_t gso_type = 0;
  uint16_t header_length = 0;    // bytes of headers in front of the payload of a super-segment
  uint16_t gso_size = 0;
  uint16_t checksum_start = 0;
  uint16_t checksum_offset = 0;
};
static_assert(sizeof(VnetHeader) == 10);

// `header_length`: bytes up to the payload, from the link-layer header on.
VnetHeader encode_vnet(const buf::Offload& offload, uint16_t header_length);
// False: a kind of segmentation that Ferry does not know, or fields that point outside a frame of `frame_length` bytes.
bool decode_vnet(const VnetHeader& header, uint32_t frame_length, buf::Offload& offload);

}  // namespace ferry::link

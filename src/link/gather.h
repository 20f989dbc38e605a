// A packet as the list of pieces that the kernel gathers: virtio header, headers, payload from client memory, tail. No byte of
// payload is copied here.
#pragma once

#include <sys/uio.h>

#include <array>

#include "buf/packet.h"
#include "link/vnet_header.h"

namespace ferry::link {

struct Gathered {
  VnetHeader vnet;
  std::array<iovec, buf::Packet::kMaxPayloadParts + 3> pieces;  // pieces[0] is vnet
  size_t count = 0;
  size_t bytes = 0;  // of the frame, without vnet

  Gathered() {}  // NOLINT: the array is not cleared for every packet
  Gathered(const Gathered&) = delete;
  Gathered& operator=(const Gathered&) = delete;
};

// Valid as long as `packet` and what `memory` gives. False: the packet contradicts itself or refers to memory that is not there.
bool gather(const buf::Packet& packet, const buf::Memory& memory, Gathered& out);
// Copies the frame (without vnet) to `to`, which has room for out.bytes.
void copy_gathered(const Gathered& from, MutableByteSpan to);

}  // namespace ferry::link

#include "link/gather.h"

#include <cstring>

namespace ferry::link {
namespace {
iovec piece(ByteSpan s) { return {const_cast<std::byte*>(s.data()), s.size()}; }
}  // namespace

bool gather(const buf::Packet& packet, const buf::Memory& memory, Gathered& out) {
  out.count = 0;
  out.bytes = 0;
  if (packet.header_length > buf::Packet::kMaxHeaderBytes || packet.part_count > buf::Packet::kMaxPayloadParts) return false;
  out.vnet = encode_vnet(packet.offload, packet.header_length);
  out.pieces[out.count++] = {&out.vnet, sizeof out.vnet};
  if (packet.header_length > 0) out.pieces[out.count++] = piece(packet.header_bytes());
  out.bytes = packet.header_length;
  for (size_t i = 0; i < packet.part_count; ++i) {
    const ByteSpan bytes = memory.read(packet.parts[i]);
    if (bytes.size() != packet.parts[i].length) return false;
    out.pieces[out.count++] = piece(bytes);
    out.bytes += bytes.size();
  }
  if (!packet.tail.empty()) out.pieces[out.count++] = piece(packet.tail);
  out.bytes += packet.tail.size();
  return out.bytes == packet.frame_length() && out.bytes > 0;
}

void copy_gathered(const Gathered& from, MutableByteSpan to) {
  std::byte* p = to.data();
  for (size_t i = 1; i < from.count; ++i) {
    std::memcpy(p, from.pieces[i].iov_base, from.pieces[i].iov_len);
    p += from.pieces[i].iov_len;
  }
}

}  // namespace ferry::link

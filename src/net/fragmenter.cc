// Slices of packets.
#include "net/fragmenter.h"

namespace ferry::net {
namespace {

constexpr uint32_t smaller(uint32_t a, uint32_t b) { return a < b ? a : b; }

}  // namespace

bool append_slice(buf::Packet& to, const buf::Packet& from, uint32_t skip, uint32_t offset, uint32_t length) {
  uint32_t at = offset, left = length;  // `at` counts from the beginning of the piece looked at
  const uint32_t header = from.header_length - skip;
  if (at < header) {
    const uint32_t n = smaller(header - at, left);
    copy_bytes(to.append_header(n), from.header_bytes().subspan(skip + at, n));
    left -= n;
    at = 0;
  } else {
    at -= header;
  }
  for (uint32_t i = 0; i < from.part_count && left > 0; ++i) {
    const buf::IoDesc& part = from.parts[i];
    if (at >= part.length) {
      at -= part.length;
      continue;
    }
    const uint32_t n = smaller(part.length - at, left);
    if (!to.append_part(part.without_prefix(at).prefix(n))) return false;
    left -= n;
    at = 0;
  }
  if (left > 0) {
    if (at > from.tail.size() || left > from.tail.size() - at) return false;
    to.tail = from.tail.subspan(at, left);
    to.payload_length += left;
  }
  return true;
}

}  // namespace ferry::net

// The Internet checksum in 64-bit steps: one's complement addition does not care for the width of the words (RFC 1071 section 2(C))
// nor, but for a swap at the end, for their byte order (2(B)).
#include "wire/checksum.h"

namespace ferry::wire {
namespace {

__extension__ using Wide = unsigned __int128;

uint64_t load_native64(const std::byte* p) {
  uint64_t v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

uint16_t fold(uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

// Sum of the bytes as little-endian 16-bit words, an odd last byte padded with zero; folded.
uint16_t sum_native(ByteSpan bytes) {
  const std::byte* p = bytes.data();
  size_t n = bytes.size();
  Wide a = 0, b = 0;  // two chains of additions
  for (; n >= 32; n -= 32, p += 32) {
    a += load_native64(p);
    b += load_native64(p + 8);
    a += load_native64(p + 16);
    b += load_native64(p + 24);
  }
  for (; n >= 8; n -= 8, p += 8) a += load_native64(p);
  uint64_t rest = 0;
  for (size_t i = 0; i < n; ++i) rest |= std::to_integer<uint64_t>(p[i]) << (8 * i);
  a += rest;
  const auto parts = [](Wide w) {
    return uint64_t{fold(static_cast<uint64_t>(w))} + fold(static_cast<uint64_t>(w >> 64));
  };
  return fold(parts(a) + parts(b));
}

}  // namespace

void Checksum::add(ByteSpan bytes) {
  if (bytes.empty()) return;
  const uint16_t little = sum_native(bytes);
  // Host order is big-endian words; after an odd number of bytes the words are shifted by one byte, which swaps them.
  sum_ += odd_ ? little : __builtin_bswap16(little);
  if (bytes.size() % 2 != 0) odd_ = !odd_;
}

uint16_t Checksum::partial() const { return fold(sum_); }

Checksum pseudo_header(Ipv4Address source, Ipv4Address destination, uint8_t protocol, uint32_t length) {
  Checksum sum;
  sum.add_be32(source.value);
  sum.add_be32(destination.value);
  sum.add_be16(protocol);
  sum.add_be32(length);
  return sum;
}

bool checksum_ok(Checksum sum, ByteSpan bytes) {
  sum.add(bytes);
  return sum.finish() == 0;
}

}  // namespace ferry::wire

// Spans of bytes and byte-wise big-endian access. The callers check lengths; these functions do not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ferry {

using ByteSpan = std::span<const std::byte>;
using MutableByteSpan = std::span<std::byte>;

constexpr uint8_t load_u8(ByteSpan s, size_t at) { return std::to_integer<uint8_t>(s[at]); }
constexpr uint16_t load_be16(ByteSpan s, size_t at) {
  return static_cast<uint16_t>(load_u8(s, at) << 8 | load_u8(s, at + 1));
}
constexpr uint32_t load_be32(ByteSpan s, size_t at) {
  return static_cast<uint32_t>(load_be16(s, at)) << 16 | load_be16(s, at + 2);
}
constexpr void store_u8(MutableByteSpan s, size_t at, uint8_t v) { s[at] = std::byte{v}; }
constexpr void store_be16(MutableByteSpan s, size_t at, uint16_t v) {
  store_u8(s, at, static_cast<uint8_t>(v >> 8));
  store_u8(s, at + 1, static_cast<uint8_t>(v));
}
constexpr void store_be32(MutableByteSpan s, size_t at, uint32_t v) {
  store_be16(s, at, static_cast<uint16_t>(v >> 16));
  store_be16(s, at + 2, static_cast<uint16_t>(v));
}

// Copies `from` to the start of `to`; `to` must be at least as long. memcpy under a name that the core may use.
inline void copy_bytes(MutableByteSpan to, ByteSpan from) {
  if (!from.empty()) __builtin_memcpy(to.data(), from.data(), from.size());
}
// Zeroes the bytes of an object from one member to another, the latter not included.
inline void zero(void* from, const void* to) {
  __builtin_memset(from, 0, static_cast<size_t>(static_cast<const char*>(to) - static_cast<const char*>(from)));
}
inline bool equal_bytes(ByteSpan a, ByteSpan b) {
  return a.size() == b.size() && (a.empty() || __builtin_memcmp(a.data(), b.data(), a.size()) == 0);
}

}  // namespace ferry

// Bytes for tests: from hex text, from numbers, concatenated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace ferry::test {

using Bytes = std::vector<std::byte>;

// "45 00 0014" -> bytes; anything but hex digits is skipped.
inline Bytes hex(std::string_view text) {
  Bytes out;
  int high = -1;
  for (char c : text) {
    int digit = -1;
    if (c >= '0' && c <= '9') digit = c - '0';
    if (c >= 'a' && c <= 'f') digit = c - 'a' + 10;
    if (c >= 'A' && c <= 'F') digit = c - 'A' + 10;
    if (digit < 0) continue;
    if (high < 0) {
      high = digit;
    } else {
      out.push_back(static_cast<std::byte>(high * 16 + digit));
      high = -1;
    }
  }
  return out;
}

// `n` bytes that differ from one another and with the seed.
inline Bytes pattern(size_t n, uint32_t seed = 1) {
  Bytes out(n);
  uint32_t x = seed * 2654435761u + 12345;
  for (auto& b : out) {
    x = x * 1664525u + 1013904223u;
    b = static_cast<std::byte>(x >> 24);
  }
  return out;
}

inline Bytes copy(ByteSpan s) { return Bytes(s.begin(), s.end()); }

// All of them, one behind the other.
template <typename... Parts>
Bytes join(const Parts&... parts) {
  Bytes out;
  (out.insert(out.end(), parts.begin(), parts.end()), ...);
  return out;
}

template <typename Fields>
Bytes emit(const Fields& fields) {
  Bytes out(fields.size());
  fields.emit(out);
  return out;
}

}  // namespace ferry::test

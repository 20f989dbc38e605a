// Reads a fuzzer's bytes as numbers and spans; at the end everything is zero or empty. `check` ends the run with a report.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace ferry::fuzz {

class FuzzInput {
 public:
  FuzzInput(const uint8_t* data, size_t size) : rest_(reinterpret_cast<const std::byte*>(data), size) {}
  bool empty() const { return rest_.empty(); }
  uint8_t u8() {
    if (rest_.empty()) return 0;
    const uint8_t v = load_u8(rest_, 0);
    rest_ = rest_.subspan(1);
    return v;
  }
  uint16_t u16() { return static_cast<uint16_t>(u8() << 8 | u8()); }
  uint32_t u32() { return static_cast<uint32_t>(u16()) << 16 | u16(); }
  // Up to n bytes.
  ByteSpan bytes(size_t n) {
    const ByteSpan taken = rest_.first(n < rest_.size() ? n : rest_.size());
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  ByteSpan rest() { return bytes(rest_.size()); }

 private:
  ByteSpan rest_;
};

inline void check(bool condition) {
  if (!condition) __builtin_trap();
}

}  // namespace ferry::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

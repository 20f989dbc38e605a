// The congestion window as all algorithms share it (RFC 5681 section 3.1).
#pragma once

#include <cstdint>

namespace ferry::tcp::cc {

inline constexpr uint32_t kMaxWindow = 64u << 20;  // bytes
inline constexpr uint32_t kNoThreshold = UINT32_MAX;

struct Window {
  uint32_t cwnd = 0;
  uint32_t ssthresh = kNoThreshold;
  uint32_t mss = 536;

  void grow(uint32_t bytes) { cwnd = bytes > kMaxWindow - cwnd ? kMaxWindow : cwnd + bytes; }
  // RFC 6928: min(10 MSS, max(2 MSS, 14600)).
  static constexpr uint32_t initial(uint32_t mss) {
    uint32_t floor = 2 * mss > 14600 ? 2 * mss : 14600;
    return 10 * mss < floor ? 10 * mss : floor;
  }
};

}  // namespace ferry::tcp::cc

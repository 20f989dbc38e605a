// TCP sequence numbers: arithmetic modulo 2^32 (RFC 9293 section 3.4). Comparison is meaningful within half the space.
#pragma once

#include <cstdint>

namespace ferry::wire {

class SeqNum {
 public:
  constexpr SeqNum() = default;
  explicit constexpr SeqNum(uint32_t v) : v_(v) {}
  constexpr uint32_t value() const { return v_; }
  friend constexpr bool operator==(SeqNum, SeqNum) = default;
  friend constexpr SeqNum operator+(SeqNum s, uint32_t n) { return SeqNum(s.v_ + n); }
  friend constexpr SeqNum operator-(SeqNum s, uint32_t n) { return SeqNum(s.v_ - n); }
  // Bytes from b to a; negative when a is before b.
  friend constexpr int32_t operator-(SeqNum a, SeqNum b) { return static_cast<int32_t>(a.v_ - b.v_); }
  friend constexpr bool operator<(SeqNum a, SeqNum b) { return a - b < 0; }
  friend constexpr bool operator<=(SeqNum a, SeqNum b) { return a - b <= 0; }
  friend constexpr bool operator>(SeqNum a, SeqNum b) { return a - b > 0; }
  friend constexpr bool operator>=(SeqNum a, SeqNum b) { return a - b >= 0; }

 private:
  uint32_t v_ = 0;
};

}  // namespace ferry::wire

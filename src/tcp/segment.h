// TCP segments as values between tcp/ and stack/: what arrived, and what is to be sent.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"
#include "buf/io_desc.h"

namespace ferry::tcp {

// Sequence numbers: arithmetic modulo 2^32 (RFC 9293 section 3.4). Comparison is meaningful within half the space.
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

enum Flag : uint8_t { kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16, kUrg = 32, kEce = 64, kCwr = 128 };

struct SackBlock {
  SeqNum left, right;  // [left, right)
};

// Options of RFC 9293, 7323 and 2018, parsed or to be written.
struct Options {
  uint16_t mss = 0;              // 0: absent
  int8_t window_scale = -1;      // -1: absent
  bool sack_permitted = false;
  bool has_timestamps = false;
  uint32_t ts_value = 0, ts_echo = 0;
  uint8_t sack_count = 0;
  std::array<SackBlock, 4> sacks{};
};

struct InputSegment {
  SeqNum seq, ack;
  uint8_t flags = 0;
  uint16_t window = 0;           // as on the wire, unscaled
  uint16_t urgent_pointer = 0;
  Options options;
  ByteSpan payload;
  uint16_t gso_size = 0;         // payload bytes per wire segment when the link merged several (GRO), else 0
  uint8_t ecn = 0;               // the IP header's ECN field
};

struct OutputSegment {
  static constexpr size_t kMaxParts = 17;  // as buf::Packet
  SeqNum seq, ack;
  uint8_t flags = 0;
  uint16_t window = 0;
  uint16_t urgent_pointer = 0;
  Options options;
  std::array<buf::IoDesc, kMaxParts> parts;
  uint16_t part_count = 0;
  uint32_t payload_length = 0;
  uint16_t mss = 0;              // payload bytes per wire segment; above it the link segments (GSO)
  uint8_t ecn = 0;               // to put into the IP header
};

}  // namespace ferry::tcp

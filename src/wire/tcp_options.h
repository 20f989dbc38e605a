// TCP options as values: RFC 9293 section 3.2 (MSS), RFC 7323 (window scale, timestamps), RFC 2018 (SACK).
//
// Owns: TcpOptions, its parser and its layout on the wire. tcp/segment.h uses the same type under the name tcp::Options.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"
#include "wire/seq_num.h"

namespace ferry::wire {

struct SackBlock {
  SeqNum left, right;  // [left, right)
  friend constexpr bool operator==(const SackBlock&, const SackBlock&) = default;
};

struct TcpOptions {
  static constexpr size_t kMaxBytes = 40;  // the header has room for no more

  uint16_t mss = 0;              // 0: absent
  int8_t window_scale = -1;      // -1: absent; as received, values above 14 are clamped by tcp/ (RFC 7323 section 2.3)
  bool sack_permitted = false;
  bool has_timestamps = false;
  uint32_t ts_value = 0, ts_echo = 0;
  uint8_t sack_count = 0;
  std::array<SackBlock, 4> sacks{};

  // Reads the option bytes of a header. Unknown options are skipped (RFC 9293 MUST-6); known ones of a wrong length are
  // ignored. Errc::malformed when a length runs past the end or is below 2 (MUST-7): the segment is to be dropped.
  static Result<TcpOptions> parse(ByteSpan bytes);
  // Bytes on the wire, padded to a multiple of 4. May exceed kMaxBytes for combinations that nobody may send.
  size_t size() const;
  // Writes size() bytes, NOP-aligned; `out` is at least that long.
  void emit(MutableByteSpan out) const;
  // Sets sack_count to what fits into kMaxBytes beside the other options, at most `wanted`. Returns it.
  uint8_t limit_sacks(uint8_t wanted);

  friend bool operator==(const TcpOptions&, const TcpOptions&) = default;
};

}  // namespace ferry::wire

// HyStart++ (RFC 9406): leaves slow start when the round-trip time rises, before anything is lost.
//
// Owns: rounds and their minimum RTTs. Does not own: cwnd (cc.cc grows it by what growth() allows).
#pragma once

#include <cstdint>

#include "base/time.h"
#include "tcp/segment.h"

namespace ferry::tcp::cc {

class HyStart {
 public:
  void reset() { *this = HyStart(); }
  // Takes the sample of one acknowledgement (rtt zero: none). True when slow start is over.
  bool on_ack(SeqNum una, SeqNum nxt, Duration rtt);
  // Divides the growth of slow start: 1, or 4 in Conservative Slow Start (section 4.2).
  uint32_t growth_divisor() const { return conservative_ ? 4 : 1; }

 private:
  void begin_round(SeqNum nxt);

  int64_t round_min_ns_ = INT64_MAX;
  int64_t last_min_ns_ = INT64_MAX;
  int64_t baseline_ns_ = INT64_MAX;
  SeqNum round_end_;
  uint16_t samples_ = 0;
  uint8_t conservative_rounds_ = 0;
  bool started_ = false;
  bool conservative_ = false;
};

}  // namespace ferry::tcp::cc

#include "tcp/cc/hystart.h"

namespace ferry::tcp::cc {
namespace {
constexpr int64_t kMinThreshold = 4'000'000;   // MIN_RTT_THRESH, ns
constexpr int64_t kMaxThreshold = 16'000'000;  // MAX_RTT_THRESH, ns
constexpr int64_t kDivisor = 8;                // MIN_RTT_DIVISOR
constexpr uint16_t kSamples = 8;               // N_RTT_SAMPLE
constexpr uint8_t kConservativeRounds = 5;     // CSS_ROUNDS
}  // namespace

void HyStart::begin_round(SeqNum nxt) {
  last_min_ns_ = round_min_ns_;
  round_min_ns_ = INT64_MAX;
  samples_ = 0;
  round_end_ = nxt;
  started_ = true;
}

bool HyStart::on_ack(SeqNum una, SeqNum nxt, Duration rtt) {
  if (!started_) {
    begin_round(nxt);
  } else if (una >= round_end_) {
    begin_round(nxt);
    if (conservative_ && ++conservative_rounds_ >= kConservativeRounds) return true;
  }
  if (rtt <= Duration::zero()) return false;
  if (rtt.count_ns() < round_min_ns_) round_min_ns_ = rtt.count_ns();
  if (samples_ < kSamples) ++samples_;
  if (samples_ < kSamples || last_min_ns_ == INT64_MAX) return false;
  if (!conservative_) {
    int64_t threshold = last_min_ns_ / kDivisor;
    if (threshold < kMinThreshold) threshold = kMinThreshold;
    if (threshold > kMaxThreshold) threshold = kMaxThreshold;
    if (round_min_ns_ >= last_min_ns_ + threshold) {
      baseline_ns_ = round_min_ns_;
      conservative_ = true;
      conservative_rounds_ = 0;
    }
  } else if (round_min_ns_ < baseline_ns_) {  // the rise was a jitter
    baseline_ns_ = INT64_MAX;
    conservative_ = false;
  }
  return false;
}

}  // namespace ferry::tcp::cc

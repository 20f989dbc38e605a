#include "tcp/rtt.h"

namespace ferry::tcp {
namespace {
constexpr Duration kMinimumWindow = Duration::seconds(10);
int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
}  // namespace

void RttEstimator::sample(Instant now, Duration rtt) {
  int64_t r = rtt.count_ns() > 0 ? rtt.count_ns() : 1;
  latest_ns_ = r;
  if (srtt_ns_ == 0) {  // (2.2)
    srtt_ns_ = r;
    rttvar_ns_ = r / 2;
    min_ns_ = previous_min_ns_ = r;
    min_since_ = now;
    return;
  }
  int64_t error = srtt_ns_ > r ? srtt_ns_ - r : r - srtt_ns_;  // (2.3)
  rttvar_ns_ += (error - rttvar_ns_) / 4;
  srtt_ns_ += (r - srtt_ns_) / 8;
  if (srtt_ns_ < 1) srtt_ns_ = 1;
  if (now - min_since_ > kMinimumWindow) {
    previous_min_ns_ = min_ns_;
    min_ns_ = r;
    min_since_ = now;
  }
  min_ns_ = smaller(min_ns_, r);
}

Duration RttEstimator::minimum() const { return Duration::ns(smaller(min_ns_, previous_min_ns_)); }

Duration RttEstimator::base_timeout() const {
  if (srtt_ns_ == 0) return Duration::ms(initial_ms_);
  Duration variance = Duration::ns(4 * rttvar_ns_);
  if (variance < kMinVariance) variance = kMinVariance;
  Duration t = Duration::ns(srtt_ns_) + variance;
  return t < kMaxTimeout ? t : kMaxTimeout;
}

Duration RttEstimator::timeout(uint32_t backoff) const {
  Duration t = base_timeout();
  for (uint32_t i = 0; i < backoff && t < kMaxTimeout; ++i) t = t * 2;
  return t < kMaxTimeout ? t : kMaxTimeout;
}

}  // namespace ferry::tcp

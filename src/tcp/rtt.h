// Round-trip time and the retransmission timeout (RFC 6298), with Linux's bounds: the variance term is at least 200 ms, the
// timeout at most 120 s, one second before the first sample.
//
// Owns: the estimates. Does not own: the timer, the choice of samples (Karn's rule is the caller's).
#pragma once

#include <cstdint>

#include "base/time.h"

namespace ferry::tcp {

class RttEstimator {
 public:
  static constexpr Duration kInitialTimeout = Duration::seconds(1);
  static constexpr Duration kMinVariance = Duration::ms(200);
  static constexpr Duration kMaxTimeout = Duration::seconds(120);

  void sample(Instant now, Duration rtt);
  bool has_sample() const { return srtt_ns_ != 0; }
  Duration smoothed() const { return Duration::ns(srtt_ns_); }
  Duration variation() const { return Duration::ns(rttvar_ns_); }
  // Smallest of the last 10 to 20 seconds; zero before the first sample.
  Duration minimum() const;
  Duration latest() const { return Duration::ns(latest_ns_); }
  // Without backoff.
  Duration base_timeout() const;
  // With `backoff` doublings (section 5.5), bounded.
  Duration timeout(uint32_t backoff) const;
  // The timeout until the first sample is this (section 5.7: three seconds after a lost SYN).
  void set_initial(Duration d) { initial_ms_ = static_cast<uint16_t>(d.count_ms()); }

 private:
  int64_t srtt_ns_ = 0, rttvar_ns_ = 0, latest_ns_ = 0;
  int64_t min_ns_ = 0, previous_min_ns_ = 0;
  Instant min_since_;
  uint16_t initial_ms_ = 1000;
};

}  // namespace ferry::tcp

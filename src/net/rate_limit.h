// A token bucket with time as an argument (RFC 1812 section 4.3.2.8): bounds the ICMP errors that strangers can make us send.
#pragma once

#include <cstdint>

#include "base/time.h"

namespace ferry::net {

class TokenBucket {
 public:
  // `burst` tokens at first and at most; one more every `interval`.
  constexpr TokenBucket(uint32_t burst, Duration interval) : burst_(burst), interval_(interval), tokens_(burst) {}

  // Takes a token; false when there is none.
  bool take(Instant now) {
    if (now > filled_) {
      const int64_t gained = (now - filled_).count_ns() / interval_.count_ns();
      if (gained >= burst_ - tokens_) {
        tokens_ = burst_;
        filled_ = now;
      } else {
        tokens_ += static_cast<uint32_t>(gained);
        filled_ = filled_ + interval_ * gained;
      }
    }
    if (tokens_ == 0) return false;
    --tokens_;
    return true;
  }

 private:
  uint32_t burst_;
  Duration interval_;
  uint32_t tokens_;
  Instant filled_;  // up to when tokens have been counted
};

}  // namespace ferry::net

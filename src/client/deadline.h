// The end of a blocking call: SO_RCVTIMEO, SO_SNDTIMEO, or none. The clock is read when the first wait begins, not before. And how long it
// sleeps at once.
#pragma once

#include <time.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "client/channel.h"
#include "client/sys.h"
#include "ipc/futex.h"

namespace ferry::client {

inline int64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);  // the vDSO: no system call
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

class Deadline {
 public:
  // `timeout_ns` 0 or less: no limit.
  explicit Deadline(int64_t timeout_ns) : timeout_ns_(timeout_ns) {}
  bool limited() const { return timeout_ns_ > 0; }
  // Nanoseconds left, at least 0; only for limited ones.
  int64_t left_ns() {
    const int64_t now = monotonic_ns();
    if (end_ns_ == 0) end_ns_ = now + timeout_ns_;
    return end_ns_ > now ? end_ns_ - now : 0;
  }

 private:
  int64_t timeout_ns_;
  int64_t end_ns_ = 0;
};

// Sleeps as Sys::futex_wait_any, at most so many nanoseconds; -1: no limit.
inline long futex_wait_any_for(int64_t wait_ns, const uint32_t* const* words, const uint32_t* expected, uint32_t count) {
  if (wait_ns < 0) return sys().futex_wait_any(words, expected, count, nullptr);
  const timespec until = ipc::to_timespec(Duration::ns(monotonic_ns() + wait_ns));
  return sys().futex_wait_any(words, expected, count, &until);
}

// Where no signal tells the thread of ferryd's end it looks after one second, and ever less often.
class Slices {
 public:
  // Nanoseconds; -1: no limit.
  int64_t next() { return hears_ ? -1 : std::exchange(slice_, std::min(slice_ * 2, int64_t{32} * 1'000'000'000)); }

 private:
  const bool hears_ = Channel::hears_lifeline();
  int64_t slice_ = 1'000'000'000;
};

}  // namespace ferry::client

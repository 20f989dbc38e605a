// The end of a blocking call: SO_RCVTIMEO, SO_SNDTIMEO, or none. The clock is read when the first wait begins, not before.
#pragma once

#include <time.h>

#include <cstdint>

#include "ipc/syscall.h"

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

}  // namespace ferry::client

// What is left of a relative time-out across several sleeps. CLOCK_MONOTONIC, as poll(2) and epoll_wait(2) use.
#pragma once

#include <time.h>

#include <cstdint>

namespace ferry::preload {

class RemainingTime {
 public:
  // nullptr: no limit.
  explicit RemainingTime(const timespec* timeout) : limited_(timeout != nullptr) {
    if (!limited_) return;
    constexpr int64_t kLongest = INT64_MAX / 4;
    int64_t seconds = timeout->tv_sec;
    length_ = seconds > kLongest / 1'000'000'000 ? kLongest : seconds * 1'000'000'000 + timeout->tv_nsec;
    if (length_ > 0) end_ = now() + length_;
  }

  // For the next sleep; nullptr: no limit. Valid until the next call.
  const timespec* left() {
    if (!limited_) return nullptr;
    int64_t ns = left_ns();
    left_ = {static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
    return &left_;
  }
  // -1: no limit.
  int64_t left_ns() const {
    if (!limited_) return -1;
    if (length_ <= 0) return 0;
    int64_t ns = end_ - now();
    return ns > 0 ? ns : 0;
  }
  bool expired() const { return limited_ && left_ns() == 0; }

 private:
  static int64_t now() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
  }

  bool limited_;
  int64_t length_ = 0, end_ = 0;
  timespec left_{};
};

// For interfaces that count milliseconds: rounded up, -1 for no limit.
inline int to_milliseconds(const timespec* timeout) {
  if (timeout == nullptr) return -1;
  int64_t ms = int64_t{timeout->tv_sec} * 1000 + (timeout->tv_nsec + 999'999) / 1'000'000;
  return ms > INT32_MAX ? INT32_MAX : static_cast<int>(ms);
}

}  // namespace ferry::preload

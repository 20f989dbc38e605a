// Waiting on, and waking through, a 32-bit word in memory that several processes map (futex(2), without FUTEX_PRIVATE_FLAG).
//
// A wait without time-out is restarted by the kernel after a signal handler with SA_RESTART and gives -EINTR after one
// without; a wait with a time-out always gives -EINTR. That is what blocking socket calls do too (signal(7)).
#pragma once

#include <linux/futex.h>

#include <cstdint>
#include <ctime>

#include "base/time.h"
#include "ipc/syscall.h"

namespace ferry::ipc {

// Sleeps while `word` holds `expected`, at most `timeout` (relative; nullptr: no limit).
// 0 after a wake-up (possibly spurious); -EAGAIN: the word had changed; -ETIMEDOUT; -EINTR.
inline long futex_wait(const uint32_t& word, uint32_t expected, const timespec* timeout = nullptr) {
  return raw_syscall(SYS_futex, arg(&word), FUTEX_WAIT, expected, arg(timeout));
}

inline constexpr uint32_t kMostWords = 16;

// Sleeps while every one of `count` <= kMostWords words holds what is expected (futex_waitv(2), Linux 5.16), at most `until` (CLOCK_MONOTONIC;
// nullptr: no limit), restarted as above without time-out in either case. >= 0 after a wake-up; -EAGAIN; -ETIMEDOUT; -EINTR.
inline long futex_wait_any(const uint32_t* const* words, const uint32_t* expected, uint32_t count, const timespec* until = nullptr) {
  struct Waiter {  // struct futex_waitv
    uint64_t value, address;
    uint32_t flags, reserved;
  } waiters[kMostWords];
  for (uint32_t i = 0; i < count; ++i) waiters[i] = {expected[i], reinterpret_cast<uint64_t>(words[i]), FUTEX_32, 0};
  return raw_syscall(SYS_futex_waitv, arg(waiters), count, 0, arg(until), CLOCK_MONOTONIC);
}

// Wakes at most `count` waiters; returns how many woke, or -errno.
inline long futex_wake(const uint32_t& word, int count) {
  return raw_syscall(SYS_futex, arg(&word), FUTEX_WAKE, count);
}

inline constexpr int kWakeAll = 0x7fffffff;

inline timespec to_timespec(Duration d) {
  return {static_cast<time_t>(d.count_seconds()), static_cast<long>(d.count_ns() % 1'000'000'000)};
}

}  // namespace ferry::ipc

// A mutex among the threads of one process that fork cannot leave locked: the word names the process (client/process.h), and what
// a thread of the parent held counts as free in the child. What it protects must bear that: the child starts anew.
#pragma once

#include <cstdint>

#include "client/critical.h"

namespace ferry::client {

class Mutex {
 public:
  constexpr Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;
  void lock();
  // Only if it becomes free in a moment.
  [[nodiscard]] bool try_lock();
  void unlock();

 private:
  static constexpr int kSpins = 60;
  uint64_t word_ = 0;  // low half: 0 free, bit 0 held, bit 1 waiters; high half: process_token() of the holder
};

// Holds a mutex, and signal handlers off.
class Guard {
 public:
  explicit Guard(Mutex& m) : mutex_(m) { mutex_.lock(); }
  ~Guard() { mutex_.unlock(); }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

 private:
  Critical critical_;
  Mutex& mutex_;
};

}  // namespace ferry::client

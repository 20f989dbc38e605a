// A short wait in user space before a sleep: as long as that has paid off lately, and only while ferryd is awake on another CPU.
//
// A hit allows twice as much next time, up to Config::spin_ns; a miss half, down to none with a probe now and then. So a
// program whose answers come at once never sleeps, and one that waits for long never burns CPU. One per place that waits; several
// threads may use one (what they learn may be lost, nothing else).
#pragma once

#include <x86intrin.h>

#include <cstdint>

#include "base/atomics.h"

namespace ferry::client {

class AdaptiveSpin {
 public:
  // Spins until `ready()`, the budget is used up, or `awake()` (whether who is waited for runs) is no longer true. True: ready() was.
  template <typename Awake, typename Ready>
  bool run(Awake&& awake, Ready&& ready);
  // Forgets what it has learned.
  void reset() { store_relaxed(budget_, 0u); }

 private:
  static constexpr uint32_t kFirst = 2'000;    // ns; what it starts with
  static constexpr uint32_t kLeast = 250;      // below it, do not spin but probe now and then
  static constexpr uint32_t kProbeEvery = 64;  // waits

  // Nanoseconds of time stamp counter; only the scale matters.
  static uint64_t clock() { return __rdtsc() >> 1; }
  // What this wait may take; 0: nothing.
  uint32_t take_budget();
  void learn(uint32_t budget, bool hit);

  uint32_t budget_ = 0;  // ns; below kLeast waits left until the next probe
};

template <typename Awake, typename Ready>
bool AdaptiveSpin::run(Awake&& awake, Ready&& ready) {
  const uint32_t budget = awake() ? take_budget() : 0;
  if (budget == 0) return false;
  const uint64_t start = clock();
  bool hit = false;
  for (uint32_t i = 0;; ++i) {
    hit = ready();
    if (hit) break;
    cpu_relax();
    if (clock() - start > budget || ((i & 15) == 0 && !awake())) break;
  }
  learn(budget, hit);
  return hit;
}

}  // namespace ferry::client

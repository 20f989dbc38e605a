// A short wait in user space before a sleep, as long as that would have paid off lately, and only while ferryd is awake on another CPU.
//
// The rule is the engine's (server/engine.cc): a wait that ended within the limit, spun or slept, allows twice as much next time; a longer one
// half, down to none. So a program whose answers come at once never sleeps, and one that waits for long never burns CPU.
//
//   run() true: it came while spinning          run() false, sleep, slept()
//
// Whoever else wants this CPU gets it meanwhile: ferryd itself, perhaps, or the peer's program.
//
// One per place that waits. Several threads may use one: what they learn may be lost, nothing else.
#pragma once

#include <sched.h>
#include <x86intrin.h>

#include <cstdint>

#include "base/atomics.h"
#include "client/process.h"

namespace ferry::client {

class AdaptiveSpin {
 public:
  // Spins until `ready()`, the budget or `most` ns are used up, or `awake()`, whether who is waited for runs, is no longer true.
  // True: ready() was. Otherwise slept() must follow the sleep.
  template <typename Awake, typename Ready>
  bool run(uint32_t most, Awake&& awake, Ready&& ready);
  void slept(uint32_t most) { learn(clock() - load_relaxed(began_), most); }
  // Forgets what it has learned.
  void reset() { store_relaxed(budget_, kFirst); }
  uint32_t budget() const { return load_relaxed(budget_); }  // ns

  // `took`: ns from the beginning of a wait to its end.
  void learn(uint64_t took, uint32_t most);

 private:
  static constexpr uint32_t kFirst = 2'000;  // ns; what it starts with, and starts again with
  static constexpr uint32_t kLeast = 250;    // below it, nothing
  static constexpr uint32_t kAlone = 1'000;  // what comes so soon is not worth a system call

  // Nanoseconds of time stamp counter; only the scale matters.
  static uint64_t clock() { return __rdtsc() >> 1; }

  uint32_t budget_ = kFirst;
  uint64_t began_ = 0;  // the latest wait; clock()
};

// Whether this process may run on more than one CPU: spinning on the only one keeps the server from answering.
bool has_cpus_to_spin();

template <typename Awake, typename Ready>
bool AdaptiveSpin::run(uint32_t most, Awake&& awake, Ready&& ready) {
  const uint64_t began = clock();
  store_relaxed(began_, began);
  const uint32_t left = budget() < most ? budget() : most;
  if (left == 0 || !has_cpus_to_spin()) return false;
  for (uint32_t i = 0;; ++i) {
    const uint64_t took = clock() - began;
    if (ready()) {
      learn(took, most);
      return true;
    }
    if (took > left || ((i & 15) == 0 && !awake())) return false;
    if (took > kAlone && (i & 7) == 7 && !is_confined()) sched_yield();  // confined, spinning does not give way
    cpu_relax();
  }
}

}  // namespace ferry::client

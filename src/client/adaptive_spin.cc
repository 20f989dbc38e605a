#include "client/adaptive_spin.h"

#include <sched.h>

#include <algorithm>

#include "ipc/syscall.h"

namespace ferry::client {

bool has_cpus_to_spin() {
  static const bool several = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    const long r = ipc::raw_syscall(SYS_sched_getaffinity, 0, sizeof set, ipc::arg(&set));
    return r > 0 && CPU_COUNT(&set) > 1;
  }();
  return several;
}

void AdaptiveSpin::learn(uint64_t took, uint32_t most) {
  const uint32_t old = budget();
  if (took <= most) store_relaxed(budget_, std::min(std::max(old * 2, kFirst), most));
  else store_relaxed(budget_, old / 2 < kLeast ? 0 : old / 2);
}

}  // namespace ferry::client

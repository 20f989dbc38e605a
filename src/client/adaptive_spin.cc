#include "client/adaptive_spin.h"

#include <sched.h>

#include <algorithm>

#include "client/channel.h"
#include "ipc/syscall.h"

namespace ferry::client {
namespace {

// Whether the process may run on more than one CPU: spinning on the only one keeps the server from answering.
bool has_cpus_to_spin() {
  static const bool several = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    const long r = ipc::raw_syscall(SYS_sched_getaffinity, 0, sizeof set, ipc::arg(&set));
    return r > 0 && CPU_COUNT(&set) > 1;
  }();
  return several;
}

}  // namespace

uint32_t AdaptiveSpin::take_budget() {
  if (Channel::config().spin_ns == 0 || !has_cpus_to_spin()) return 0;
  const uint32_t budget = load_relaxed(budget_);
  if (budget == 0) return kFirst;
  if (budget >= kLeast) return budget;
  store_relaxed(budget_, budget > 1 ? budget - 1 : kFirst / 2);
  return 0;
}

void AdaptiveSpin::learn(uint32_t budget, bool hit) {
  const uint32_t most = Channel::config().spin_ns;
  if (hit) store_relaxed(budget_, std::min(budget * 2, most));
  else store_relaxed(budget_, budget / 2 >= kLeast ? budget / 2 : kProbeEvery);
}

}  // namespace ferry::client

// How a blocking call waits: a short adaptive spin while the server is awake on another CPU, then a futex.
#include <sched.h>
#include <x86intrin.h>

#include <algorithm>
#include <cerrno>

#include "base/atomics.h"
#include "client/deadline.h"
#include "client/socket.h"
#include "client/sys.h"
#include "ipc/futex.h"

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

constexpr uint32_t kFirstSpin = 2'000;      // ns; what a socket starts with
constexpr uint32_t kLeastSpin = 250;        // below it, do not spin but probe now and then
constexpr uint32_t kProbeEvery = 64;        // waits

// Nanoseconds of time stamp counter; only the scale matters.
uint64_t spin_clock() { return __rdtsc() >> 1; }

// Counts the thread as one that waits on event_seq, so that the server makes the system call to wake it.
class Waiting {
 public:
  explicit Waiting(uint32_t& waiters) : waiters_(waiters) { atomic_add(waiters_, 1u); }
  ~Waiting() { atomic_add(waiters_, ~0u); }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

 private:
  uint32_t& waiters_;
};

}  // namespace

// Spins as long as that has paid off lately: a hit allows twice as much next time, a miss half. True: the event came.
bool Socket::spin_for_event(Home& h, uint32_t seen) {
  const uint32_t most = Channel::config().spin_ns;
  if (most == 0 || !has_cpus_to_spin() || !h.channel->server_awake(h.engine)) return false;
  uint32_t budget = load_relaxed(spin_ns_);
  if (budget == 0) budget = kFirstSpin;
  if (budget < kLeastSpin) {  // counts down to the next probe
    store_relaxed(spin_ns_, budget > 1 ? budget - 1 : kFirstSpin / 2);
    return false;
  }
  const uint64_t start = spin_clock();
  for (uint32_t i = 0;; ++i) {
    if (load_acquire(h.shared->event_seq) != seen) {
      store_relaxed(spin_ns_, std::min(budget * 2, most));
      return true;
    }
    cpu_relax();
    if (spin_clock() - start > budget || ((i & 15) == 0 && !h.channel->server_awake(h.engine))) break;
  }
  store_relaxed(spin_ns_, budget / 2 >= kLeastSpin ? budget / 2 : kProbeEvery);
  return false;
}

// For want of memory that others hold: no event of this socket tells when there is some. 0 or -EINTR.
int Socket::wait_a_little(Home& h, uint32_t seen) {
  const timespec timeout = ipc::to_timespec(Duration::ms(5));
  return sys().futex_wait(&h.shared->event_seq, seen, &timeout) == -EINTR ? -EINTR : 0;
}

int Socket::wait_for_event(Home& h, uint32_t seen, Deadline& deadline) {
  if (load_acquire(h.shared->event_seq) != seen) return 0;
  if (spin_for_event(h, seen)) return 0;
  const Waiting waiting(h.shared->waiters);
  const bool guarded = Channel::config().lifeline_signal != 0;
  for (int64_t slice = 1'000'000'000;; slice = std::min<int64_t>(slice * 2, int64_t{32} * 1'000'000'000)) {
    if (h.channel->is_dead()) return -ENETDOWN;
    int64_t wait_ns = guarded ? -1 : slice;
    if (deadline.limited()) {
      const int64_t left = deadline.left_ns();
      if (left == 0) return -EAGAIN;
      wait_ns = wait_ns < 0 ? left : std::min(left, wait_ns);
    }
    const timespec timeout = ipc::to_timespec(Duration::ns(wait_ns < 0 ? 0 : wait_ns));
    const long r = sys().futex_wait(&h.shared->event_seq, seen, wait_ns < 0 ? nullptr : &timeout);
    if (r == -EINTR) return -EINTR;
    if (r != -ETIMEDOUT) return h.channel->is_dead() ? -ENETDOWN : 0;
    if (!h.channel->check_alive()) return -ENETDOWN;
    if (load_acquire(h.shared->event_seq) != seen) return 0;
  }
}

}  // namespace ferry::client

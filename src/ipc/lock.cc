// The contended paths of ipc/lock.h.
#include "ipc/lock.h"

#include <cerrno>

namespace ferry::ipc {
namespace {
constexpr int kSpins = 100;  // a few microseconds: ring operations take less
}

LockResult lock_slow(uint32_t& word) {
  for (int i = 0; i < kSpins; ++i) {
    const uint32_t value = load_relaxed(word);
    if ((value & abi::kLockRevoked) != 0) return LockResult::revoked;
    if (value == 0 && try_lock(word)) return LockResult::acquired;
    cpu_relax();
  }
  for (;;) {
    const uint32_t value = load_acquire(word);
    if ((value & abi::kLockRevoked) != 0) return LockResult::revoked;
    if (value == 0) {
      // Others may sleep as well: whoever has slept passes the waiters bit on, at the price of one needless wake-up at the end.
      if (compare_exchange(word, 0u, uint32_t{abi::kLockHeld | abi::kLockWaiters})) return LockResult::acquired;
      continue;
    }
    const uint32_t waiting = value | abi::kLockWaiters;
    if (value == waiting || compare_exchange(word, value, waiting)) futex_wait(word, waiting);
  }
}

void unlock_slow(uint32_t& word, uint32_t old) {
  // Everybody learns of a revocation; otherwise one waiter suffices, it passes the bit on.
  if ((old & abi::kLockRevoked) != 0) futex_wake(word, kWakeAll);
  else if ((old & abi::kLockWaiters) != 0) futex_wake(word, 1);
}

long wait_while_revoked(uint32_t& word, const timespec* timeout) {
  const uint32_t value = load_acquire(word);
  if ((value & abi::kLockRevoked) == 0) return 0;
  const long r = futex_wait(word, value, timeout);
  return r == -EINTR ? -EINTR : 0;
}

void end_revocation(uint32_t& word, bool give_back) {
  if (give_back) atomic_and(word, ~uint32_t{abi::kLockRevoked});
  futex_wake(word, kWakeAll);
}

}  // namespace ferry::ipc

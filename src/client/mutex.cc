#include "client/mutex.h"

#include <linux/futex.h>

#include "base/atomics.h"
#include "client/process.h"
#include "ipc/syscall.h"

namespace ferry::client {
namespace {
constexpr uint64_t kHeld = 1, kWaiters = 2;

long futex(uint64_t& word, int operation, uint32_t value) {
  return ipc::raw_syscall(SYS_futex, ipc::arg(&word), operation | FUTEX_PRIVATE_FLAG, value, 0);
}
}  // namespace

void Mutex::lock() {
  const uint64_t mine = uint64_t{process_token()} << 32;
  for (int spins = 0;; ++spins) {
    const uint64_t word = load_relaxed(word_);
    const uint64_t state = (word & ~uint64_t{0xffffffff}) == mine ? word & 0xffffffff : 0;
    if (state == 0) {
      // After having slept, others may sleep too: keep the bit that makes unlock() wake them.
      const uint64_t held = mine | kHeld | (spins > kSpins ? kWaiters : 0);
      if (compare_exchange(word_, word, held)) return;
      continue;
    }
    if (spins < kSpins) {
      cpu_relax();
      continue;
    }
    if ((state & kWaiters) != 0 || compare_exchange(word_, word, word | kWaiters))
      futex(word_, FUTEX_WAIT, static_cast<uint32_t>(state | kWaiters));
  }
}

bool Mutex::try_lock() {
  const uint64_t mine = uint64_t{process_token()} << 32;
  for (int spins = 0; spins < kSpins; ++spins) {
    const uint64_t word = load_relaxed(word_);
    const bool held = (word & ~uint64_t{0xffffffff}) == mine && (word & kHeld) != 0;
    if (!held && compare_exchange(word_, word, mine | kHeld | ((word & ~uint64_t{0xffffffff}) == mine ? word & kWaiters : 0))) return true;
    cpu_relax();
  }
  return false;
}

void Mutex::unlock() {
  const uint64_t old = atomic_exchange(word_, uint64_t{0});
  if ((old & kWaiters) != 0) futex(word_, FUTEX_WAKE, 1);
}

}  // namespace ferry::client

// Atomic access to words in shared memory, over the compiler's builtins: the core and the channel ABI may not use <atomic>.
// Words are naturally aligned uint32_t or uint64_t. Names give the memory order; `exchange`, `or`, `and`, `add` are
// sequentially consistent so that sleep/wake hand-shakes (store own flag, fence, load the other's) hold.
#pragma once

#include <cstdint>

namespace ferry {

template <typename T>
T load_relaxed(const T& word) { return __atomic_load_n(&word, __ATOMIC_RELAXED); }
template <typename T>
T load_acquire(const T& word) { return __atomic_load_n(&word, __ATOMIC_ACQUIRE); }
template <typename T>
void store_relaxed(T& word, T value) { __atomic_store_n(&word, value, __ATOMIC_RELAXED); }
template <typename T>
void store_release(T& word, T value) { __atomic_store_n(&word, value, __ATOMIC_RELEASE); }
template <typename T>
T atomic_exchange(T& word, T value) { return __atomic_exchange_n(&word, value, __ATOMIC_SEQ_CST); }
template <typename T>
T atomic_or(T& word, T bits) { return __atomic_fetch_or(&word, bits, __ATOMIC_SEQ_CST); }
template <typename T>
T atomic_and(T& word, T bits) { return __atomic_fetch_and(&word, bits, __ATOMIC_SEQ_CST); }
template <typename T>
T atomic_add(T& word, T n) { return __atomic_fetch_add(&word, n, __ATOMIC_SEQ_CST); }
// Replaces `expected` by `desired`; returns whether it did.
template <typename T>
bool compare_exchange(T& word, T expected, T desired) {
  return __atomic_compare_exchange_n(&word, &expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
inline void full_fence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void cpu_relax() { __builtin_ia32_pause(); }

}  // namespace ferry

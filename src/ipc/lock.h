// rx_lock and tx_lock of a socket (abi::LockBit): mutual exclusion among the threads of the home process, plus a bit by which
// the server takes the ring away (demotion, re-homing, hang-up: docs/architecture.md, "Revocation in short").
//
//        try_lock            unlock                        revoke (server)
//   0 ------------> held ------------> 0        any ------------------------> same | revoked
//   held, contended: waiters sleep on the word with kLockWaiters set; unlock wakes them.
//   With kLockRevoked set nobody takes the lock. Its holder goes on until unlock(), which then reports it: ring the doorbell.
//
// The server never waits for a client: it sets the bit and looks again when the doorbell rings or the process is gone. A client
// that misuses the word only breaks its own sockets. No lock is held while a thread sleeps for data or space.
#pragma once

#include <cstdint>

#include "base/atomics.h"
#include "ipc/abi.h"
#include "ipc/futex.h"

namespace ferry::ipc {

// --- client side ---

enum class LockResult { acquired, revoked };

inline bool try_lock(uint32_t& word) { return compare_exchange(word, 0u, uint32_t{abi::kLockHeld}); }

// The contended half of lock(): spins briefly, then sleeps.
LockResult lock_slow(uint32_t& word);

// Takes the lock, or finds it revoked: then the caller looks at `mode`, and wait_while_revoked() if it is still shared.
[[nodiscard]] inline LockResult lock(uint32_t& word) {
  return try_lock(word) ? LockResult::acquired : lock_slow(word);
}

// Wakes whoever waits for a lock that had the bits `old` when it was released.
void unlock_slow(uint32_t& word, uint32_t old);

// Releases the lock. True: the server has revoked it meanwhile, and must be told by ringing the socket's doorbell. A full
// fence: what is loaded afterwards is not older than what the lock protected.
[[nodiscard]] inline bool unlock(uint32_t& word) {
  const uint32_t old = atomic_and(word, uint32_t{abi::kLockRevoked});
  if (__builtin_expect(old != abi::kLockHeld, 0)) unlock_slow(word, old);
  return (old & abi::kLockRevoked) != 0;
}

// Sleeps until the word is no longer revoked, or something woke us so that the caller should look at `mode` again, at most
// `timeout` (nullptr: no limit). 0, or -EINTR when a signal handler ran.
long wait_while_revoked(uint32_t& word, const timespec* timeout = nullptr);

// --- server side ---

// Takes the lock away. True: nobody holds it, so no client thread is in the ring and none will enter.
inline bool revoke(uint32_t& word) { return (atomic_or(word, uint32_t{abi::kLockRevoked}) & abi::kLockHeld) == 0; }
// Whether a lock that was revoked has been released.
inline bool is_released(const uint32_t& word) { return (load_acquire(word) & abi::kLockHeld) == 0; }
// Gives the lock back, or after `mode` has changed tells those who wait for it to look at the mode. Wakes all of them.
void end_revocation(uint32_t& word, bool give_back);
// For a home process that is dead: whatever it held is free.
inline void reset_lock(uint32_t& word) { store_release(word, 0u); }

}  // namespace ferry::ipc

// Events from the server to a client: the socket's event_seq for blocking calls, and event queues for poll and epoll.
//
// The server, after it has changed a socket's words (rx_produced, ready, tx_completed, …), calls signal_socket(): bumps event_seq
// and wakes its futex if a thread waits; sets the slot's bit in every queue that watches it and writes the queue's eventfd if
// its owner sleeps. Rules of `wants` (abi::WantBit) are in docs/shm-abi.md, "Events".
//
// Hand-shakes, all of Dekker's kind with a full fence between own store and other's load:
//   blocking call: waiters + 1, (fence) re-check state, FUTEX_WAIT on event_seq  ||  change state, event_seq + 1 (fence), waiters?
//   queue:         sleeping = 1, (fence) look at the bits                        ||  set bit (fence), sleeping?
// FUTEX_WAIT compares event_seq with the value read before the re-check, so a bump between check and sleep is seen by the kernel.
#pragma once

#include <cstdint>

#include "base/atomics.h"
#include "base/bytes.h"
#include "ipc/abi.h"
#include "ipc/doorbell.h"
#include "ipc/futex.h"

namespace ferry::ipc {

// --- server ---

// Zeroes the slot for a new socket, but for the words that threads sleep by: one that slept on the socket before may count itself out
// only now, and is not to count out one that sleeps on the new.
inline void renew(abi::SocketShared& s) {
  zero(&s, &s.event_seq);
  zero(&s.event_time, &s.waiters);
  zero(&s.watches, &s + 1);
}

// Tells threads that block on this socket.
inline void signal_waiters(abi::SocketShared& socket) {
  atomic_add(socket.event_seq, 1u);
  if (load_relaxed(socket.waiters) != 0) futex_wake(socket.event_seq, kWakeAll);
}

// Sets `slot` in one queue. True: the owner slept, and its eventfd must be written (once; the flag is taken).
[[nodiscard]] inline bool post_event(abi::EventQueue& queue, uint32_t slot) {
  set_slot(queue.ready, slot);
  if (__atomic_load_n(&queue.sleeping, __ATOMIC_SEQ_CST) == 0) return false;
  return atomic_exchange(queue.sleeping, 0u) != 0;
}

// Both of the above for `slot`, and when it was (abi::SocketShared::event_time): `wake(queue_index)` is called for each queue whose
// eventfd must be written.
// `queues` is the mapped array, `queue_count` the server's own copy of its length.
template <typename Wake>
void signal_socket(abi::SocketShared& socket, uint32_t slot, uint32_t time, abi::EventQueue* queues, uint32_t queue_count, Wake&& wake) {
  store_relaxed(socket.event_time, time);
  signal_waiters(socket);
  for (const uint32_t& watch : socket.watches) {
    const uint32_t queue = load_relaxed(watch);  // once: the client may change it at any time
    if (queue == 0 || queue > queue_count) continue;
    if (post_event(queues[queue - 1], slot)) wake(queue - 1);
  }
}

// --- client ---

// Announces sleep on the queue. False: bits are set; take them instead of sleeping (the announcement stays, see end_sleep).
[[nodiscard]] inline bool prepare_sleep(abi::EventQueue& queue) {
  atomic_exchange(queue.sleeping, 1u);  // a full fence as well
  return !any_slot(queue.ready);
}
// Withdraws it. True: the server had taken the flag, so its eventfd has been written or is about to be.
inline bool end_sleep(abi::EventQueue& queue) { return atomic_exchange(queue.sleeping, 0u) == 0; }

}  // namespace ferry::ipc

// A socket's place in a channel: slot, generation, and what this process remembers of it outside shared memory.
//
// A home is used as long as the socket stays in that slot; after fork, re-homing or a new channel the socket gets another Home, and the
// old one stays in memory until the Socket is closed, because a thread may still be looking at it. A socket that is no stream, and may be handed to
// and fro for ever, has one Home for each slot: it is used again when the socket comes back there (Socket::take_older).
#pragma once

#include <cstdint>

#include "base/atomics.h"
#include "client/channel.h"
#include "client/input_window.h"
#include "ipc/block_fifo.h"
#include "ipc/descriptor_ring.h"

namespace ferry::client {

struct Passage;

struct Home {
  Channel* channel = nullptr;
  uint32_t slot = 0;
  uint32_t generation = 0;       // atomic: once it is that of the slot, the rest is ready for use
  ipc::abi::SocketShared* shared = nullptr;
  uint32_t engine = 0;

  // The server's view (abi::ReadyBit); while it has not come to a connect in the ring, that one is under way.
  uint32_t ready() {
    if (__builtin_expect(is_connect_waiting(), 0)) return ipc::abi::kConnecting;
    return load_acquire(shared->ready);
  }
  bool is_connect_waiting() {
    if (__builtin_expect(load_acquire(connect_posted) == 0, 1)) return false;
    if (static_cast<int32_t>(load_acquire(shared->tx_taken) - connect_entry) <= 0) return true;
    store_relaxed(connect_posted, 0u);
    return false;
  }
  uint32_t connect_posted = 0;   // atomic
  uint32_t connect_entry = 0;    // index of that call in the output ring

  // --- under tx_lock ---
  ipc::RingProducer tx;
  ipc::BlockFifo output;
  bool write_shut = false;       // our shutdown(SHUT_WR) is in the ring
  uint64_t copied_out = 0;       // payload bytes, for copy accounting; atomic
  uint64_t referenced_out = 0;   // the same of output by reference

  // --- under rx_lock ---
  ipc::RingConsumer rx;
  uint32_t rx_used = 0;          // bytes consumed of the entry at rx.next()
  uint64_t rx_bytes = 0;         // == shared->rx_consumed_bytes; changed under rx_lock, looked at without it
  uint64_t oob_taken_mark = 0;   // the urgent mark whose byte has been read with MSG_OOB
  uint64_t copied_in = 0;        // payload bytes; atomic
  InputWindow input;             // memory that is lent for input

  uint64_t swapped_in = 0;       // payload bytes in pages that were exchanged; atomic
  uint32_t swapped_pages = 0;    // atomic

  Passage* passage = nullptr;    // newest; atomic
  Home* older = nullptr;
};

}  // namespace ferry::client

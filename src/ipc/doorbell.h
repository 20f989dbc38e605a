// Doorbells: two-level bitmaps over socket slots (abi::SlotBitmap), and the hand-shake that lets the server sleep.
//
// Why nothing is lost. A setter sets the word bit (1), then looks at or sets the summary bit (2). A taker clears the summary
// bit (3), then takes the word (4). All four are sequentially consistent. If the taker's (4) missed (1), then (3) came before
// (4), (4) before (1) and (1) before (2): so (2) saw the summary bit clear and set it, and the next take finds the word.
// What a setter wrote before (1) is visible to the taker after (4): both are atomic read-modify-writes of one word.
//
// Why nobody sleeps through a bell (Dekker). The server stores server_idle = 1, fences, and looks at the summaries; a client
// sets the summary, and then (locked instruction: a full fence) looks at server_idle. At least one sees the other's store.
#pragma once

#include <cstdint>

#include "base/atomics.h"
#include "ipc/abi.h"

namespace ferry::ipc {

// Sets the bit of `slot` (< abi::kMaxSockets; the caller's own trusted number). Any thread, either side.
inline void set_slot(abi::SlotBitmap& map, uint32_t slot) {
  const uint32_t word = slot / 64;
  atomic_or(map.words[word], uint64_t{1} << slot % 64);
  uint64_t& summary = map.summary[word / 64];
  const uint64_t bit = uint64_t{1} << word % 64;
  if ((__atomic_load_n(&summary, __ATOMIC_SEQ_CST) & bit) == 0) atomic_or(summary, bit);
}

// Whether a bit may be set: summaries only. Sequentially consistent; call it after the own "sleeping" store and a fence.
inline bool any_slot(const abi::SlotBitmap& map) {
  for (const uint64_t& summary : map.summary)
    if (__atomic_load_n(&summary, __ATOMIC_SEQ_CST) != 0) return true;
  return false;
}

// Takes every set bit and calls f(slot) for each below `slots`; others (a hostile client's) are dropped. Work is bounded by the
// size of the map whatever it holds. Returns the number of calls.
template <typename F>
uint32_t take_slots(abi::SlotBitmap& map, uint32_t slots, F&& f) {
  uint32_t taken = 0;
  for (uint32_t s = 0; s < sizeof(map.summary) / sizeof(uint64_t); ++s) {
    if (load_relaxed(map.summary[s]) == 0) continue;
    uint64_t words = atomic_exchange(map.summary[s], uint64_t{0});
    for (; words != 0; words &= words - 1) {
      const uint32_t word = s * 64 + static_cast<uint32_t>(__builtin_ctzll(words));
      uint64_t bits = atomic_exchange(map.words[word], uint64_t{0});
      for (; bits != 0; bits &= bits - 1) {
        const uint32_t slot = word * 64 + static_cast<uint32_t>(__builtin_ctzll(bits));
        if (slot >= slots) continue;
        ++taken;
        f(slot);
      }
    }
  }
  return taken;
}

// Takes at most `capacity` set bits into `out`; the others stay set. Returns how many. Slots from `slots` on are dropped.
uint32_t take_some_slots(abi::SlotBitmap& map, uint32_t slots, uint32_t* out, uint32_t capacity);

// --- client: tell the server that a socket has something for it ---

// Rings the doorbell of `slot` at `engine` (validated by the caller against its own copy of the layout).
// True: the server sleeps, and this caller is the one who must write the kick eventfd.
[[nodiscard]] inline bool ring_doorbell(abi::ChannelHeader& header, uint32_t engine, uint32_t slot) {
  set_slot(header.doorbell[engine], slot);
  uint32_t& idle = header.server_idle[engine * 16];
  if (__atomic_load_n(&idle, __ATOMIC_SEQ_CST) == 0) return false;
  return atomic_exchange(idle, 0u) != 0;
}

inline bool server_is_awake(const abi::ChannelHeader& header, uint32_t engine) {
  return load_relaxed(header.server_idle[engine * 16]) == 0;
}

// --- server: before and after sleeping, for each channel of the engine ---

// Announces sleep. False: the doorbell has rung meanwhile; serve it instead of sleeping (the announcement is withdrawn).
[[nodiscard]] inline bool prepare_idle(abi::ChannelHeader& header, uint32_t engine) {
  atomic_exchange(header.server_idle[engine * 16], 1u);  // a full fence as well
  if (!any_slot(header.doorbell[engine])) return true;
  store_relaxed(header.server_idle[engine * 16], 0u);
  return false;
}
inline void end_idle(abi::ChannelHeader& header, uint32_t engine) {
  store_relaxed(header.server_idle[engine * 16], 0u);
}

}  // namespace ferry::ipc

#include "ipc/doorbell.h"

namespace ferry::ipc {

uint32_t take_some_slots(abi::SlotBitmap& map, uint32_t slots, uint32_t* out, uint32_t capacity) {
  uint32_t taken = 0;
  for (uint32_t s = 0; s < sizeof(map.summary) / sizeof(uint64_t); ++s) {
    if (load_relaxed(map.summary[s]) == 0) continue;
    uint64_t words = atomic_exchange(map.summary[s], uint64_t{0});
    while (words != 0) {
      if (taken == capacity) {
        atomic_or(map.summary[s], words);  // not looked at: still to be taken
        return taken;
      }
      const uint32_t word = s * 64 + static_cast<uint32_t>(__builtin_ctzll(words));
      words &= words - 1;
      uint64_t bits = atomic_exchange(map.words[word], uint64_t{0});
      for (; bits != 0 && taken < capacity; bits &= bits - 1) {
        const uint32_t slot = word * 64 + static_cast<uint32_t>(__builtin_ctzll(bits));
        if (slot < slots) out[taken++] = slot;
      }
      if (bits == 0) continue;
      atomic_or(map.words[word], bits);
      words |= uint64_t{1} << (word % 64);
    }
  }
  return taken;
}

}  // namespace ferry::ipc

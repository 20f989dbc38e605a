// How many threads of this process sleep on something. After fork those of the parent do not count in the child, however it was made; a
// thread that leaves its sleep by siglongjmp is counted on.
#pragma once

#include <cstdint>

#include "client/process.h"

namespace ferry::client {

class Sleepers {
 public:
  // What to give to leave().
  uint32_t enter() {
    const uint32_t process = process_token();
    uint64_t old = load(), fresh = 0;
    do fresh = (belongs(old, process) ? old : of(process)) + 1;
    while (!replace(old, fresh));
    return process;
  }
  // `process`: of enter(). A sleep that the parent process began is not ended in a child.
  void leave(uint32_t process) {
    uint64_t old = load();
    while (belongs(old, process) && count(old) != 0 && !replace(old, old - 1)) {}
  }
  bool any() const {
    const uint64_t now = load();
    return count(now) != 0 && belongs(now, process_token());
  }

 private:
  static uint64_t of(uint32_t process) { return uint64_t{process} << 32; }
  static bool belongs(uint64_t word, uint32_t process) { return word >> 32 == process; }
  static uint32_t count(uint64_t word) { return static_cast<uint32_t>(word); }
  uint64_t load() const { return __atomic_load_n(&word_, __ATOMIC_SEQ_CST); }
  bool replace(uint64_t& old, uint64_t fresh) {
    return __atomic_compare_exchange_n(&word_, &old, fresh, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  }

  uint64_t word_ = 0;  // process_token() above, the count below
};

}  // namespace ferry::client

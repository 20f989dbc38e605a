// Deadlines of many sockets: an indexed binary heap. Setting and removing cost O(log n), the earliest is at hand, and nothing
// is done for a deadline that is not due, so that 100,000 idle connections cost nothing.
//
// Owns: the array of references. Does not own: the nodes (each is part of a socket) or what happens when one is due.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/time.h"

namespace ferry::stack {

struct TimerNode {
  static constexpr uint32_t kIdle = UINT32_MAX;
  Instant at = Instant::never();
  uint32_t index = kIdle;  // place in the heap
  bool armed() const { return index != kIdle; }
};

class TimerHeap {
 public:
  TimerHeap() = default;
  ~TimerHeap();
  TimerHeap(const TimerHeap&) = delete;
  TimerHeap& operator=(const TimerHeap&) = delete;

  // Makes room for `count` armed nodes in all, so that set() cannot fail. Errc::no_memory.
  Status reserve(uint32_t count);
  // Arms, moves or (with Instant::never()) disarms the node. Room must have been reserved.
  void set(TimerNode& node, Instant at);
  void remove(TimerNode& node) { set(node, Instant::never()); }
  // The node with the earliest deadline, nullptr if none is armed.
  TimerNode* first() const { return size_ == 0 ? nullptr : slots_[0].node; }
  Instant next_deadline() const { return size_ == 0 ? Instant::never() : slots_[0].at; }
  uint32_t size() const { return size_; }

 private:
  struct Slot {
    Instant at;
    TimerNode* node = nullptr;
  };
  void put(uint32_t index, const Slot& slot);
  void sift_up(uint32_t index, const Slot& slot);
  void sift_down(uint32_t index, const Slot& slot);

  Slot* slots_ = nullptr;
  uint32_t size_ = 0, capacity_ = 0;
};

}  // namespace ferry::stack

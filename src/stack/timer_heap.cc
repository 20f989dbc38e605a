// The heap operations; see timer_heap.h.
#include "stack/timer_heap.h"

#include "port/api/alloc.h"

namespace ferry::stack {

TimerHeap::~TimerHeap() { port::release(slots_); }

Status TimerHeap::reserve(uint32_t count) {
  if (count <= capacity_) return {};
  uint32_t wanted = capacity_ < 64 ? 64 : capacity_ * 2;
  if (wanted < count) wanted = count;
  Slot* larger = make_array<Slot>(wanted);
  if (larger == nullptr) return Errc::no_memory;
  for (uint32_t i = 0; i < size_; ++i) larger[i] = slots_[i];
  port::release(slots_);
  slots_ = larger;
  capacity_ = wanted;
  return {};
}

void TimerHeap::set(TimerNode& node, Instant at) {
  if (at == node.at) return;
  const Instant before = node.at;
  node.at = at;
  if (at.is_never()) {
    const uint32_t hole = node.index;
    node.index = TimerNode::kIdle;
    const Slot last = slots_[--size_];
    if (hole == size_) return;
    sift_up(hole, last);
    if (last.node->index == hole) sift_down(hole, last);
    return;
  }
  if (!node.armed()) {
    FERRY_ASSERT(size_ < capacity_);
    sift_up(size_++, {at, &node});
  } else if (at < before) {
    sift_up(node.index, {at, &node});
  } else {
    sift_down(node.index, {at, &node});
  }
}

void TimerHeap::put(uint32_t index, const Slot& slot) {
  slots_[index] = slot;
  slot.node->index = index;
}

void TimerHeap::sift_up(uint32_t index, const Slot& slot) {
  while (index > 0) {
    const uint32_t parent = (index - 1) / 2;
    if (slots_[parent].at <= slot.at) break;
    put(index, slots_[parent]);
    index = parent;
  }
  put(index, slot);
}

void TimerHeap::sift_down(uint32_t index, const Slot& slot) {
  for (;;) {
    uint32_t child = index * 2 + 1;
    if (child >= size_) break;
    if (child + 1 < size_ && slots_[child + 1].at < slots_[child].at) ++child;
    if (slot.at <= slots_[child].at) break;
    put(index, slots_[child]);
    index = child;
  }
  put(index, slot);
}

}  // namespace ferry::stack

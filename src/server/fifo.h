// A first-in first-out queue in one growing block of memory; an empty one that never held anything owns no memory, so that a
// hundred thousand idle sockets cost nothing for their queues.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "port/api/assert.h"

namespace ferry::server {

template <typename T>
class Fifo {
 public:
  bool empty() const { return size_ == 0; }
  uint32_t size() const { return size_; }
  T& operator[](uint32_t i) {
    FERRY_ASSERT(i < size_);
    return slots_[(head_ + i) & (capacity_ - 1)];
  }
  T& front() { return (*this)[0]; }
  T& back() { return (*this)[size_ - 1]; }
  void push_back(const T& value) {
    if (size_ == capacity_) grow();
    slots_[(head_ + size_++) & (capacity_ - 1)] = value;
  }
  void pop_front() {
    FERRY_ASSERT(size_ > 0);
    head_ = (head_ + 1) & (capacity_ - 1);
    if (--size_ == 0) shrink();
  }
  void pop_back() {
    FERRY_ASSERT(size_ > 0);
    if (--size_ == 0) shrink();
  }
  void clear() {
    size_ = 0;
    shrink();
  }

 private:
  static constexpr uint32_t kKept = 16;  // elements for which an empty queue keeps its memory
  void grow() {
    uint32_t capacity = capacity_ == 0 ? 4 : capacity_ * 2;
    auto slots = std::make_unique<T[]>(capacity);
    for (uint32_t i = 0; i < size_; ++i) slots[i] = (*this)[i];
    slots_ = std::move(slots);
    capacity_ = capacity;
    head_ = 0;
  }
  void shrink() {
    head_ = 0;
    if (capacity_ <= kKept) return;
    slots_.reset();
    capacity_ = 0;
  }
  std::unique_ptr<T[]> slots_;
  uint32_t capacity_ = 0;  // 0 or a power of two
  uint32_t head_ = 0;
  uint32_t size_ = 0;
};

}  // namespace ferry::server

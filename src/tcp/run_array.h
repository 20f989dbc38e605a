// A small sorted-by-position array that is mostly appended to at the end and taken from at the front: descriptors queued for
// sending, runs in flight, runs received out of order. The first few elements live inside; more are allocated, within a bound,
// and given back as soon as the array is empty, so that an idle connection owns nothing.
//
// Owns: storage. Does not own: what the elements mean. Every growing operation may fail and then has changed nothing.
#pragma once

#include <cstdint>

#include "port/api/alloc.h"
#include "port/api/assert.h"

namespace ferry::tcp {

template <typename T, uint32_t kInline, uint32_t kMaximum>
class RunArray {
  static_assert(__is_trivially_copyable(T) && kInline > 0 && kMaximum >= kInline);

 public:
  RunArray() = default;
  ~RunArray() { clear(); }
  RunArray(const RunArray&) = delete;
  RunArray& operator=(const RunArray&) = delete;

  uint32_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T& operator[](uint32_t i) { return data_[head_ + i]; }
  const T& operator[](uint32_t i) const { return data_[head_ + i]; }
  T& back() { return data_[head_ + size_ - 1]; }
  const T& back() const { return data_[head_ + size_ - 1]; }

  // Whether one more element can be had; allocates if needed, so that the next growing operation cannot fail.
  [[nodiscard]] bool reserve_one() {
    if (head_ + size_ < capacity_) return true;
    if (head_ > 0 && (head_ >= capacity_ / 2 || capacity_ >= kMaximum)) {
      move(data_, data_ + head_, size_);
      head_ = 0;
      return true;
    }
    if (capacity_ >= kMaximum) return false;
    uint32_t wanted = capacity_ * 4 < kMaximum ? capacity_ * 4 : kMaximum;
    T* grown = static_cast<T*>(port::allocate(wanted * sizeof(T)));
    if (grown == nullptr) return false;
    move(grown, data_ + head_, size_);
    if (data_ != inline_) port::release(data_);
    data_ = grown;
    head_ = 0;
    capacity_ = wanted;
    return true;
  }
  [[nodiscard]] bool push_back(const T& element) {
    if (!reserve_one()) return false;
    data_[head_ + size_++] = element;
    return true;
  }
  // Puts `element` before position i; i == size() appends.
  [[nodiscard]] bool insert(uint32_t i, const T& element) {
    FERRY_ASSERT(i <= size_);
    if (i == 0 && head_ > 0) {
      data_[--head_] = element;
      ++size_;
      return true;
    }
    if (!reserve_one()) return false;
    move(data_ + head_ + i + 1, data_ + head_ + i, size_ - i);
    data_[head_ + i] = element;
    ++size_;
    return true;
  }
  void pop_front(uint32_t n) { erase(0, n); }
  void erase(uint32_t i, uint32_t n) {
    FERRY_ASSERT(i <= size_ && n <= size_ - i);
    if (i == 0) {
      head_ += n;
    } else {
      move(data_ + head_ + i, data_ + head_ + i + n, size_ - i - n);
    }
    size_ -= n;
    if (size_ == 0) clear();
  }
  void clear() {
    if (data_ != inline_) port::release(data_);
    data_ = inline_;
    head_ = size_ = 0;
    capacity_ = kInline;
  }

 private:
  static void move(T* to, const T* from, uint32_t n) {
    if (n > 0) __builtin_memmove(static_cast<void*>(to), from, n * sizeof(T));
  }
  T inline_[kInline];
  T* data_ = inline_;
  uint32_t head_ = 0, size_ = 0, capacity_ = kInline;
};

}  // namespace ferry::tcp

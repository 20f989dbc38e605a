#include "server/input_pool.h"

#include <algorithm>

namespace ferry::server {

InputPool::InputPool(ipc::PoolArea area) : offset_(area.offset), live_(area.size / kBlockSize, 0) {}

bool InputPool::next_block() {
  if (!free_.empty()) {
    current_ = free_.back();
    free_.pop_back();
  } else if (fresh_ < live_.size()) {
    current_ = fresh_++;
  } else {
    return false;
  }
  fill_ = 0;
  return true;
}

Result<uint64_t> InputPool::allocate(uint32_t length, uint32_t alignment) {
  if (length == 0 || length > kBlockSize) return Errc::no_buffers;
  uint32_t start = (fill_ + alignment - 1) & ~(alignment - 1);
  if (current_ == kNone || start > kBlockSize || kBlockSize - start < length) {
    // The block left behind holds bytes in use (an empty current block starts again at 0): release() will put it back.
    if (!next_block()) return Errc::no_buffers;
    start = 0;
  }
  fill_ = start + length;
  live_[current_] += length;
  used_ += length;
  return offset_ + uint64_t{current_} * kBlockSize + start;
}

void InputPool::release(uint64_t offset, uint32_t length) {
  FERRY_ASSERT(offset >= offset_ && length <= used_);
  used_ -= length;
  uint64_t at = offset - offset_;
  while (length > 0) {  // adjoining pieces may have become one across blocks
    uint32_t block = static_cast<uint32_t>(at / kBlockSize);
    uint32_t part = std::min(length, kBlockSize - static_cast<uint32_t>(at % kBlockSize));
    FERRY_ASSERT(block < live_.size() && live_[block] >= part);
    live_[block] -= part;
    if (block == current_ && at % kBlockSize + part == fill_) fill_ -= part;
    if (live_[block] == 0) {
      if (block == current_) {
        fill_ = 0;
      } else {
        free_.push_back(block);
      }
    }
    at += part;
    length -= part;
  }
}

}  // namespace ferry::server

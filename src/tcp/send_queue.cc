#include "tcp/send_queue.h"

namespace ferry::tcp {

bool SendQueue::append(const buf::IoDesc& d) {
  if (d.length == 0) return true;
  if (d.length > UINT32_MAX - bytes_) return false;
  if (!runs_.empty() && runs_.back().adjoins(d)) {
    runs_.back().length += d.length;
  } else if (!runs_.push_back(d)) {
    return false;
  }
  bytes_ += d.length;
  return true;
}

void SendQueue::drop(uint32_t n) {
  FERRY_ASSERT(n <= bytes_);
  bytes_ -= n;
  uint32_t gone = 0;
  uint32_t left = n;
  while (left > 0 && runs_[gone].length <= left) left -= runs_[gone++].length;
  if (left > 0) runs_[gone] = runs_[gone].without_prefix(left);
  if (gone > 0) runs_.pop_front(gone);
  if (cursor_run_ >= gone && cursor_position_ >= n) {
    cursor_run_ -= gone;
    cursor_position_ -= n;
    if (cursor_run_ == 0) cursor_position_ = 0;
  } else {
    cursor_run_ = cursor_position_ = 0;
  }
}

uint32_t SendQueue::gather(uint32_t position, uint32_t length, OutputSegment& out) {
  FERRY_ASSERT(position <= bytes_ && length <= bytes_ - position);
  if (position < cursor_position_) cursor_run_ = cursor_position_ = 0;
  uint32_t taken = 0;
  while (taken < length) {
    const buf::IoDesc& run = runs_[cursor_run_];
    uint32_t at = position + taken - cursor_position_;
    if (at >= run.length) {
      cursor_position_ += run.length;
      ++cursor_run_;
      continue;
    }
    if (out.part_count == OutputSegment::kMaxParts) break;
    uint32_t n = run.length - at < length - taken ? run.length - at : length - taken;
    out.parts[out.part_count++] = run.without_prefix(at).prefix(n);
    taken += n;
  }
  out.payload_length += taken;
  return taken;
}

void SendQueue::clear() {
  runs_.clear();
  bytes_ = cursor_run_ = cursor_position_ = 0;
}

}  // namespace ferry::tcp

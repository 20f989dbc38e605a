// The output stream: descriptors of bytes that the owner handed over and the peer has not acknowledged.
//
// Owns: the order of descriptors. Does not own: the memory that they name, sequence numbers (positions here count from the oldest
// unacknowledged byte). Adjoining descriptors become one, so a client that writes its pool in order costs one element.
#pragma once

#include <cstdint>

#include "buf/io_desc.h"
#include "tcp/run_array.h"
#include "tcp/segment.h"

namespace ferry::tcp {

class SendQueue {
 public:
  static constexpr uint32_t kMaxDescriptors = 8192;

  uint32_t bytes() const { return bytes_; }
  uint32_t descriptors() const { return runs_.size(); }
  const buf::IoDesc& descriptor(uint32_t i) const { return runs_[i]; }

  // False: no room or no memory for another descriptor; nothing changed.
  [[nodiscard]] bool append(const buf::IoDesc& d);
  // Drops the first n bytes; n <= bytes().
  void drop(uint32_t n);
  // Adds to `out` as much as fits of the `length` bytes at `position` (position + length <= bytes()); returns how much that is:
  // less than `length` only when the parts of a segment are used up.
  uint32_t gather(uint32_t position, uint32_t length, OutputSegment& out);
  void clear();

 private:
  RunArray<buf::IoDesc, 2, kMaxDescriptors> runs_;
  uint32_t bytes_ = 0;
  uint32_t cursor_run_ = 0;       // where the last gather ended: element, and the position of its first byte
  uint32_t cursor_position_ = 0;
};

}  // namespace ferry::tcp

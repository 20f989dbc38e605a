// Packets of a stack to itself, waiting for their turn: a ring of bytes with whole frames in it. Payload is copied here, once: the
// sender's memory may be given back before the packet's turn comes.
//
// Owns: the memory, taken at the first packet. Does not own: when the frames are processed (engine.cc).
#pragma once

#include <cstdint>

#include "base/result.h"
#include "buf/packet.h"

namespace ferry::stack {

class LoopbackQueue {
 public:
  // `capacity`: bytes, frames' book-keeping included.
  explicit LoopbackQueue(uint32_t capacity) : capacity_(capacity & ~uint32_t{15}) {}
  ~LoopbackQueue();
  LoopbackQueue(const LoopbackQueue&) = delete;
  LoopbackQueue& operator=(const LoopbackQueue&) = delete;

  struct Entry {
    uint32_t link = 0;
    buf::Frame frame;
  };

  // Copies the packet to the end. Errc::no_buffers: full; malformed: payload that can no longer be read; no_memory.
  Status push(uint32_t link, const buf::Packet& packet, const buf::Memory& memory);
  bool empty() const { return used_ == 0; }
  // The oldest frame; valid until pop(), push() does not move it. Not empty.
  Entry front() const;
  void pop();
  uint32_t used() const { return used_; }

 private:
  struct Header {
    uint32_t size;    // of the frame, bytes; kWrap: the rest of the ring is unused
    uint32_t link;
    buf::Offload offload;
  };
  static constexpr uint32_t kWrap = UINT32_MAX;
  static constexpr uint32_t kHeaderBytes = 32;
  static_assert(sizeof(Header) <= kHeaderBytes && kHeaderBytes % 16 == 0);
  static uint32_t footprint(uint32_t size) { return kHeaderBytes + ((size + 15) & ~uint32_t{15}); }
  Header load(uint32_t at) const;
  void skip_wrap();

  uint32_t capacity_;
  std::byte* bytes_ = nullptr;
  uint32_t head_ = 0, tail_ = 0;  // oldest, next free: multiples of 16
  uint32_t used_ = 0;             // bytes, skipped ones at the end of the ring included
};

}  // namespace ferry::stack

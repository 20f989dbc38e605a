// The ring; see loopback_queue.h.
#include "stack/loopback_queue.h"

#include "port/api/alloc.h"

namespace ferry::stack {

LoopbackQueue::~LoopbackQueue() { port::release(bytes_); }

LoopbackQueue::Header LoopbackQueue::load(uint32_t at) const {
  Header h;
  __builtin_memcpy(&h, bytes_ + at, sizeof h);
  return h;
}

Status LoopbackQueue::push(uint32_t link, const buf::Packet& packet, const buf::Memory& memory) {
  const uint32_t size = packet.frame_length();
  const uint32_t need = footprint(size);
  if (bytes_ == nullptr) {
    bytes_ = static_cast<std::byte*>(port::allocate(capacity_));
    if (bytes_ == nullptr) return Errc::no_memory;
  }
  uint32_t skipped = 0;
  if (capacity_ - tail_ < need) skipped = capacity_ - tail_;
  if (need > capacity_ || capacity_ - used_ < need + skipped) return Errc::no_buffers;

  std::byte* out = bytes_ + (skipped > 0 ? 0 : tail_) + kHeaderBytes;
  const MutableByteSpan room(out, size);
  copy_bytes(room, packet.header_bytes());
  size_t at = packet.header_length;
  for (uint32_t i = 0; i < packet.part_count; ++i) {
    const ByteSpan part = memory.read(packet.parts[i]);
    if (part.size() != packet.parts[i].length || part.size() > size - at) return Errc::malformed;
    copy_bytes(room.subspan(at), part);
    at += part.size();
  }
  if (packet.tail.size() != size - at) return Errc::malformed;
  copy_bytes(room.subspan(at), packet.tail);

  if (skipped > 0) {
    if (skipped >= kHeaderBytes) {
      const Header wrap{kWrap, 0, {}};
      __builtin_memcpy(bytes_ + tail_, &wrap, sizeof wrap);
    }
    if (used_ == 0) head_ = 0;
    else used_ += skipped;
    tail_ = 0;
  }
  const Header h{size, link, packet.offload};
  __builtin_memcpy(bytes_ + tail_, &h, sizeof h);
  tail_ += need;
  if (tail_ == capacity_) tail_ = 0;
  used_ += need;
  return {};
}

LoopbackQueue::Entry LoopbackQueue::front() const {
  const Header h = load(head_);
  return {h.link, {ByteSpan(bytes_ + head_ + kHeaderBytes, h.size), h.offload}};
}

void LoopbackQueue::pop() {
  const uint32_t need = footprint(load(head_).size);
  used_ -= need;
  head_ += need;
  skip_wrap();
}

// After pop: the next frame may be at the start of the ring.
void LoopbackQueue::skip_wrap() {
  if (used_ == 0) {
    head_ = tail_ = 0;
    return;
  }
  const uint32_t rest = capacity_ - head_;
  if (rest >= kHeaderBytes && load(head_).size != kWrap) return;
  used_ -= rest;
  head_ = 0;
}

}  // namespace ferry::stack

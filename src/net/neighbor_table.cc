// The neighbour table.
#include "net/neighbor_table.h"

#include "port/api/alloc.h"

namespace ferry::net {

NeighborTable::~NeighborTable() {
  while (Neighbor* n = by_use_.front()) remove(*n);
}

List<Neighbor, BucketTag>& NeighborTable::bucket(wire::Ipv4Address address) {
  return buckets_[(address.value * 0x9e3779b1u) >> 26];
}

Neighbor* NeighborTable::find(wire::Ipv4Address address) {
  List<Neighbor, BucketTag>& list = bucket(address);
  for (Neighbor* n = list.front(); n != nullptr; n = list.next(*n))
    if (n->address == address) return n;
  return nullptr;
}

// Entries with waiting frames are kept, unless all of the oldest have some: they time out by themselves.
Neighbor* NeighborTable::victim() {
  constexpr uint32_t kLook = 64;
  uint32_t looked = 0;
  for (Neighbor* n = by_use_.front(); n != nullptr && looked < kLook; n = by_use_.next(*n), ++looked)
    if (n->waiting_count == 0) return n;
  return nullptr;
}

Neighbor* NeighborTable::add(wire::Ipv4Address address) {
  if (count_ == kMaxNeighbors) {
    Neighbor* old = victim();
    if (old == nullptr) return nullptr;
    remove(*old);
  }
  Neighbor* n = make<Neighbor>();
  if (n == nullptr) return nullptr;
  n->address = address;
  bucket(address).push_back(*n);
  by_use_.push_back(*n);
  ++count_;
  return n;
}

void NeighborTable::touch(Neighbor& n) {
  if (by_use_.back() == &n) return;
  by_use_.erase(n);
  by_use_.push_back(n);
}

void NeighborTable::remove(Neighbor& n) {
  while (WaitingFrame* frame = dequeue(n)) release(frame);
  stop_timer(n);
  bucket(n.address).erase(n);
  by_use_.erase(n);
  --count_;
  destroy(&n);
}

Status NeighborTable::enqueue(Neighbor& n, const buf::Packet& packet, const buf::Memory& memory) {
  const uint32_t length = packet.frame_length();
  if (n.waiting_count == kMaxWaiting || n.waiting_bytes + length > kMaxWaitingBytes ||
      waiting_bytes_ + length > kMaxTotalBytes)
    return Errc::no_buffers;
  void* p = port::allocate(sizeof(WaitingFrame) + length);
  if (p == nullptr) return Errc::no_memory;
  WaitingFrame* frame = new (p) WaitingFrame;
  frame->offload = packet.offload;
  frame->header_length = packet.header_length;
  frame->length = length;
  MutableByteSpan to = frame->bytes();
  const auto append = [&](ByteSpan from) {
    if (from.size() > to.size()) return false;
    copy_bytes(to, from);
    to = to.subspan(from.size());
    return true;
  };
  bool sound = append(packet.header_bytes());
  for (uint32_t i = 0; sound && i < packet.part_count; ++i) sound = append(memory.read(packet.parts[i]));
  if (!sound || !append(packet.tail) || !to.empty()) {
    release(frame);
    return Errc::invalid;
  }
  n.waiting.push_back(*frame);
  ++n.waiting_count;
  n.waiting_bytes += length;
  waiting_bytes_ += length;
  return {};
}

WaitingFrame* NeighborTable::dequeue(Neighbor& n) {
  WaitingFrame* frame = n.waiting.pop_front();
  if (frame == nullptr) return nullptr;
  --n.waiting_count;
  n.waiting_bytes -= frame->length;
  waiting_bytes_ -= frame->length;
  return frame;
}

void NeighborTable::release(WaitingFrame* frame) { destroy(frame); }

void NeighborTable::start_timer(Neighbor& n, Instant deadline) {
  n.deadline = deadline;
  if (!static_cast<ListNode<TimerTag>&>(n).linked()) timed_.push_back(n);
}

void NeighborTable::stop_timer(Neighbor& n) {
  if (static_cast<ListNode<TimerTag>&>(n).linked()) timed_.erase(n);
}

}  // namespace ferry::net

// Who has which address on one link: the table behind ARP, with the frames that wait for an answer.
//
//                  answer                 60 s                 used                  3 silent probes
//   incomplete ------------> reachable ---------> stale --------------> probing ----------------------> failed
//       |                        ^                                         |                              |
//       | 3 silent requests      +-------------------- answer ------------+     used after the hold-down |
//       +-------------------------------------> failed <------------------------------> incomplete <------+
//
// Owns: entries, their order of use, copies of waiting frames; all bounded. Does not own: the moves above, requests (arp.cc).
#pragma once

#include <array>
#include <cstdint>

#include "base/list.h"
#include "base/result.h"
#include "base/time.h"
#include "buf/packet.h"
#include "wire/address.h"

namespace ferry::net {

enum class NeighborState : uint8_t { incomplete, reachable, stale, probing, failed };

// A copy of a whole outgoing frame.
struct WaitingFrame : ListNode<WaitingFrame> {
  buf::Offload offload;
  uint16_t header_length = 0;
  uint32_t length = 0;  // of the frame
  MutableByteSpan bytes() { return {reinterpret_cast<std::byte*>(this + 1), length}; }
};

struct BucketTag;
struct UseTag;
struct TimerTag;

struct Neighbor : ListNode<BucketTag>, ListNode<UseTag>, ListNode<TimerTag> {
  wire::Ipv4Address address;
  wire::MacAddress mac;
  NeighborState state = NeighborState::incomplete;
  uint8_t requests = 0;       // sent without an answer, in this round
  uint8_t failed_rounds = 0;  // in a row
  Instant confirmed;          // when the neighbour last said that it is there
  Instant deadline;           // incomplete, probing: next request; failed: end of the hold-down
  uint32_t waiting_count = 0, waiting_bytes = 0;
  List<WaitingFrame> waiting;

  bool has_mac() const {
    return state == NeighborState::reachable || state == NeighborState::stale || state == NeighborState::probing;
  }
};

class NeighborTable {
 public:
  static constexpr uint32_t kMaxNeighbors = 1024;
  static constexpr uint32_t kMaxWaiting = 64;                 // frames for one neighbour
  static constexpr uint32_t kMaxWaitingBytes = 256u << 10;    // of one neighbour
  static constexpr uint32_t kMaxTotalBytes = 1u << 20;        // of all neighbours

  NeighborTable() = default;
  ~NeighborTable();
  NeighborTable(const NeighborTable&) = delete;
  NeighborTable& operator=(const NeighborTable&) = delete;

  Neighbor* find(wire::Ipv4Address address);
  // A new entry, state incomplete. The least recently used one without waiting frames gives way when the table is full.
  // nullptr: no room or no memory.
  Neighbor* add(wire::Ipv4Address address);
  void touch(Neighbor& n);  // used just now
  void remove(Neighbor& n);

  // Copies the frame to the end of the neighbour's queue. Errc::no_buffers: a bound is reached; no_memory; invalid: payload that
  // cannot be read.
  Status enqueue(Neighbor& n, const buf::Packet& frame, const buf::Memory& memory);
  // The oldest waiting frame, or nullptr; give it back with release().
  WaitingFrame* dequeue(Neighbor& n);
  static void release(WaitingFrame* frame);

  // Entries with a running deadline (states incomplete and probing).
  List<Neighbor, TimerTag>& timed() { return timed_; }
  void start_timer(Neighbor& n, Instant deadline);
  void stop_timer(Neighbor& n);

  uint32_t size() const { return count_; }
  template <typename Visit>
  void for_each(Visit&& visit) const {
    for (const Neighbor* n = by_use_.front(); n != nullptr; n = by_use_.next(*n)) visit(*n);
  }

 private:
  static constexpr uint32_t kBuckets = 64;
  List<Neighbor, BucketTag>& bucket(wire::Ipv4Address address);
  Neighbor* victim();

  std::array<List<Neighbor, BucketTag>, kBuckets> buckets_;
  List<Neighbor, UseTag> by_use_;  // least recently used first
  List<Neighbor, TimerTag> timed_;
  uint32_t count_ = 0;
  uint32_t waiting_bytes_ = 0;
};

}  // namespace ferry::net

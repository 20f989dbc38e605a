// What a channel has mapped of the regions that it shares with other clients (ipc/abi.h, PassageEnd), and how this process wakes theirs.
//
// A region's address stays as long as the channel: when the server gives its number to another region, that is mapped over it. So a thread
// that still looks at an old passage finds other bytes, never no memory; what it finds is not believed anyway.
#pragma once

#include <cstdint>

#include "client/mutex.h"
#include "client/peer_pages.h"
#include "ipc/owned_fd.h"
#include "ipc/peer_region.h"

namespace ferry::client {

class Channel;

class Peers {
 public:
  explicit Peers(Channel& channel) : channel_(channel) {}
  Peers(const Peers&) = delete;
  Peers& operator=(const Peers&) = delete;

  // The region with that number and serial, asked for from the server if it is not mapped. Not mapped: it cannot be had.
  ipc::PeerRegionView region(uint32_t number, uint32_t serial);
  // Pages that pass between the two clients of a region that is mapped.
  PeerPages& pages(uint32_t number) { return load_acquire(regions_[number])->pages; }
  // Lets go of pages that the others are done with.
  void reap_pages();
  // Events of that end of a passage are events of the channel's `slot` from now on.
  void assign(uint32_t number, uint32_t side, uint32_t passage, uint32_t slot);
  // Wakes an event queue of the other client of a region: by its pipe, or the first time by the server. Async-signal-safe callers only hold
  // locks of the client already.
  void wake(uint32_t number, uint32_t queue);

  // --- for an event queue of this channel ---
  // Takes up to `capacity` slots with events for the queue; the others stay.
  uint32_t take(uint32_t queue, uint32_t* slots, uint32_t capacity);
  bool any(uint32_t queue) const;
  // Announces sleep, and looks. False: there are events.
  bool prepare_sleep(uint32_t queue);
  void end_sleep(uint32_t queue);
  // Forgets what the last owner of the number left.
  void clear(uint32_t queue);
  // Whether there is any region.
  bool any_region() const { return __atomic_load_n(&used_, __ATOMIC_RELAXED) != 0; }

  // The descriptors, in a child that does not own the channel.
  void close_descriptors();

 private:
  static constexpr uint32_t kNoSlot = ~0u;
  static constexpr uint32_t kWakeEnds = 24;  // descriptors; for further queues the server is asked each time
  struct Region {
    std::byte* base = nullptr;
    uint32_t serial = 0;                     // 0: not mapped
    uint32_t sides = 0;                      // bit 0, bit 1: the side is ours, the other client's queues are on the other; atomic
    uint32_t slots[2][ipc::abi::kPassages];  // by side: which slot of the channel the passage belongs to; atomic
    PeerPages pages;
  };
  struct WakeEnd {
    ipc::OwnedFd fd;
    uint32_t number = 0, serial = 0, queue = 0;
  };
  template <typename Visit>
  void for_each_queue(uint32_t queue, Visit&& visit) const;
  uint32_t engine_of(uint32_t number) const;
  WakeEnd* find(uint32_t number, uint32_t queue);
  void ask_to_wake(uint32_t number, uint32_t queue);

  Channel& channel_;
  Mutex mutex_;           // changes of regions_, wake_ends_
  Region* regions_[ipc::abi::kMaxPeerRegions] = {};  // atomic; stay for ever
  uint32_t used_ = 0;     // regions_ that are set; atomic
  WakeEnd wake_ends_[kWakeEnds];
};

}  // namespace ferry::client

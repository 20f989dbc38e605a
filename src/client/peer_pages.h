// Pages that go to, and come from, the other client of a region (ipc/abi.h, PassageReference, PeerHolds): by reference, not by copy.
//
//   writer: take() --refer--> hold() ........................ reap(): the word is 0 --> regions::unrefer
//   reader:              map() once, memory() --> copied, or adopted (Region::adopt) --> end_hold(): the word becomes 0
//
// Each of the two may be wrong about the other only to its own harm: a reader that ends a hold too early sees bytes change, a writer that
// changes a page garbles what it has sent. Both belong to one user, and have chosen this.
// Threads: any. One mutex, not held over control calls; the words of a hold that ends have another, behind the regions'.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/atomics.h"
#include "client/foreign_page.h"
#include "client/mutex.h"
#include "ipc/owned_fd.h"
#include "ipc/peer_region.h"

namespace ferry::client {

class Channel;

class PeerPages final : public HoldOwner {
 public:
  static constexpr uint32_t kNone = ~0u;

  // The region is another one from now on, or none: the server has seen to it that neither client has pages of the other any more.
  void renew(ipc::PeerRegionView view, uint32_t serial);

  // --- writing; `side`: ours ---
  // A hold for a page to be sent. kNone: all are in use.
  uint32_t take(uint32_t side);
  // The page of that hold is the one that regions::refer() gave the token for.
  void hold(uint32_t side, uint32_t hold, uint64_t token);
  // Nothing is sent after all.
  void give_back(uint32_t side, uint32_t hold);
  // Lets go of what the other client is done with.
  void reap();

  // --- reading; `side`: the writer's ---
  struct Memory {
    int memfd = -1;                   // stays open as long as the other client's number means this region
    const std::byte* base = nullptr;  // nullptr: it is not mapped here
    uint64_t size = 0;
  };
  // The region that the writer calls `region`, as its `serial`-th of that number.
  Memory memory(uint16_t region, uint32_t serial);
  // Gets it from the server; `number`: of the peer region. False: it cannot be had. Blocks for a control call.
  bool map(Channel& channel, uint32_t engine, uint32_t number, uint16_t region, uint32_t serial);
  // It could not be had.
  bool is_refused() const { return load_relaxed(refused_) != 0; }
  // A page that was sent with that hold.
  ForeignPage page(const Memory& memory, uint64_t offset, uint32_t side, uint32_t hold);
  // It has been read, by copying.
  void done(uint32_t side, uint32_t hold);
  void end_hold(uint64_t hold) override;

  // In a child that does not own the channel.
  void close_descriptors();

 private:
  struct Sent {
    bool used = false;
    uint64_t token = 0;  // 0: not known yet
  };
  struct Mapped {
    ipc::OwnedFd memfd;
    std::byte* base = nullptr;  // space for the largest region; stays for ever, a thread may be looking at it
    uint64_t size = 0;
    uint32_t serial = 0;
  };
  uint64_t name(uint32_t side, uint32_t hold) const { return uint64_t{serial_} << 32 | side << 16 | hold; }
  void reap(uint32_t side, uint32_t hold);
  bool place(Channel& channel, uint16_t region, uint32_t serial, ipc::OwnedFd memfd);

  Mutex mutex_;        // everything but view_ and serial_ for end_hold
  Mutex words_mutex_;  // view_, serial_
  ipc::PeerRegionView view_;
  uint32_t serial_ = 0;
  Sent sent_[2][ipc::abi::kPeerHolds];
  Mapped mapped_[ipc::abi::kMaxRegions];
  uint32_t refused_ = 0;  // atomic
};

}  // namespace ferry::client

// Where things are in a region of two clients (ipc/abi.h, PassageEnd), making one (server) and mapping one (server and clients).
//
// Owns: the arithmetic of offsets, the sealed memfd, the mapping. All regions have the same layout, so nothing is read from them.
#pragma once

#include "base/bytes.h"
#include "base/result.h"
#include "ipc/abi.h"
#include "ipc/owned_fd.h"

namespace ferry::ipc {

inline constexpr uint64_t kPeerHoldsOffset = sizeof(abi::PeerQueue) * 2 * abi::kMaxQueues;
inline constexpr uint64_t kPeerEndsOffset = kPeerHoldsOffset + sizeof(abi::PeerHolds);
inline constexpr uint64_t kPeerRingsOffset = kPeerEndsOffset + sizeof(abi::PassageEnd) * 2 * abi::kPassages;
inline constexpr uint64_t kPeerRegionBytes = kPeerRingsOffset + uint64_t{abi::kPassageBytes} * 2 * abi::kPassages;
static_assert(kPeerHoldsOffset % abi::kPageSize == 0 && kPeerRingsOffset % abi::kPageSize == 0);

// Names the parts of a mapped region. Numbers are the caller's own: passage < kPassages, side < 2, queue < kMaxQueues, hold < kPeerHolds.
class PeerRegionView {
 public:
  PeerRegionView() = default;
  explicit PeerRegionView(std::byte* base) : base_(base) {}
  bool mapped() const { return base_ != nullptr; }
  std::byte* base() const { return base_; }
  abi::PeerQueue& queue(uint32_t side, uint32_t queue) const {
    return reinterpret_cast<abi::PeerQueue*>(base_)[side * abi::kMaxQueues + queue];
  }
  // Of a page that `side` has sent.
  abi::PeerHolds& holds() const { return *reinterpret_cast<abi::PeerHolds*>(base_ + kPeerHoldsOffset); }
  uint32_t& held(uint32_t side, uint32_t hold) const { return holds().held[side][hold]; }
  abi::PassageEnd& end(uint32_t passage, uint32_t side) const {
    return reinterpret_cast<abi::PassageEnd*>(base_ + kPeerEndsOffset)[passage * 2 + side];
  }
  // Offset of the ring that `side` writes, from the start of the region.
  static uint64_t ring_offset(uint32_t passage, uint32_t side) {
    return kPeerRingsOffset + (uint64_t{passage} * 2 + side) * abi::kPassageBytes;
  }
  std::byte* ring(uint32_t passage, uint32_t side) const { return base_ + ring_offset(passage, side); }

 private:
  std::byte* base_ = nullptr;
};

// Server: a new memfd, close-on-exec, sealed against growing and shrinking, all zero. Errc::no_memory.
Result<OwnedFd> make_peer_memfd();
// Maps a region, not for children; at `where`, in place of what is mapped there, unless that is nullptr.
// Errc::malformed: not of the right size, or not sealed; no_memory.
Result<PeerRegionView> map_peer_memfd(int fd, std::byte* where = nullptr);
void unmap_peer_region(PeerRegionView region);

}  // namespace ferry::ipc

// Runs of pages out of a pool area: a buddy allocator whose bookkeeping is in its owner's private memory, so that the other
// side of the channel can read and write the payload but never confuse the allocator.
//
// Runs are 1, 2, 4, … 64 granules of 4 KiB, contiguous. Free runs of a size form a last-in-first-out list: what was used last is
// used next, while it is in the cache. Allocate and release take at most log2(64) steps. Not thread safe: the owner locks.
#pragma once

#include <cstdint>
#include <memory>

#include "base/atomics.h"
#include "base/result.h"
#include "ipc/descriptor_ring.h"

namespace ferry::ipc {

class Pool {
 public:
  static constexpr uint32_t kGranule = 4096;
  static constexpr uint32_t kOrders = 7;                               // runs of 1 << 0 … 1 << 6 granules
  static constexpr uint32_t kMaxRun = kGranule << (kOrders - 1);       // 256 KiB

  struct Run {
    uint64_t offset = 0;  // from the start of the memfd
    uint32_t length = 0;  // bytes
  };

  // A pool over `area` (offset and size multiples of kGranule, fewer than 2^31 granules), everything free. Errc::no_memory.
  static Result<Pool> create(PoolArea area);

  // A run of at least `bytes` (1 … kMaxRun). Errc::no_buffers: no such run is free; Errc::invalid: too long.
  Result<Run> allocate(uint32_t bytes);
  // Gives back the run that begins at `offset`, which allocate() returned.
  void release(uint64_t offset);
  // The allocated run that holds the byte at `offset`; length 0 if it is not in an allocated run.
  Run run_of(uint64_t offset) const;

  PoolArea area() const { return area_; }
  // Any thread may ask, without the owner's lock.
  uint64_t free_bytes() const { return uint64_t{load_relaxed(free_granules_)} * kGranule; }

 private:
  static constexpr uint32_t kNone = 0xffffffff;
  static constexpr uint8_t kFree = 0x80;       // head of a free run; low bits: order
  static constexpr uint8_t kAllocated = 0x40;  // head of an allocated run; low bits: order
  struct Granule {
    uint32_t next = kNone, prev = kNone;       // while head of a free run
  };

  Pool() = default;
  void push(uint32_t granule, uint32_t order);
  void unlink(uint32_t granule, uint32_t order);

  PoolArea area_;
  uint32_t granules_ = 0;
  uint32_t free_granules_ = 0;
  uint32_t heads_[kOrders] = {kNone, kNone, kNone, kNone, kNone, kNone, kNone};
  std::unique_ptr<Granule[]> links_;
  std::unique_ptr<uint8_t[]> state_;           // per granule; 0 inside a run
};

}  // namespace ferry::ipc

#include "ipc/pool.h"

#include <new>

#include "port/api/assert.h"

namespace ferry::ipc {

Result<Pool> Pool::create(PoolArea area) {
  FERRY_ASSERT(area.offset % kGranule == 0 && area.size % kGranule == 0 && area.size / kGranule < (uint64_t{1} << 31));
  Pool pool;
  pool.area_ = area;
  pool.granules_ = static_cast<uint32_t>(area.size / kGranule);
  pool.links_.reset(new (std::nothrow) Granule[pool.granules_]);
  pool.state_.reset(new (std::nothrow) uint8_t[pool.granules_]());
  if (pool.links_ == nullptr || pool.state_ == nullptr) return Errc::no_memory;
  // Largest aligned runs first, pushed from the end, so that the lowest addresses are used first.
  uint32_t end = pool.granules_;
  while (end > 0) {
    uint32_t order = 0;
    while (order + 1 < kOrders && end % (2u << order) == 0) ++order;
    end -= 1u << order;
    pool.push(end, order);
  }
  return pool;
}

void Pool::push(uint32_t granule, uint32_t order) {
  state_[granule] = static_cast<uint8_t>(kFree | order);
  links_[granule] = {heads_[order], kNone};
  if (heads_[order] != kNone) links_[heads_[order]].prev = granule;
  heads_[order] = granule;
  store_relaxed(free_granules_, free_granules_ + (1u << order));
}

void Pool::unlink(uint32_t granule, uint32_t order) {
  const Granule g = links_[granule];
  if (g.prev == kNone) heads_[order] = g.next;
  else links_[g.prev].next = g.next;
  if (g.next != kNone) links_[g.next].prev = g.prev;
  state_[granule] = 0;
  store_relaxed(free_granules_, free_granules_ - (1u << order));
}

Result<Pool::Run> Pool::allocate(uint32_t bytes) {
  if (bytes == 0 || bytes > kMaxRun) return Errc::invalid;
  uint32_t wanted = 0;
  while ((kGranule << wanted) < bytes) ++wanted;
  uint32_t order = wanted;
  while (order < kOrders && heads_[order] == kNone) ++order;
  if (order == kOrders) return Errc::no_buffers;
  const uint32_t granule = heads_[order];
  unlink(granule, order);
  while (order > wanted) {  // split: keep the lower half
    --order;
    push(granule + (1u << order), order);
  }
  state_[granule] = static_cast<uint8_t>(kAllocated | wanted);
  return Run{area_.offset + uint64_t{granule} * kGranule, kGranule << wanted};
}

void Pool::release(uint64_t offset) {
  FERRY_ASSERT(area_.contains(offset, 1) && (offset - area_.offset) % kGranule == 0);
  uint32_t granule = static_cast<uint32_t>((offset - area_.offset) / kGranule);
  FERRY_ASSERT((state_[granule] & kAllocated) != 0);
  uint32_t order = state_[granule] & ~kAllocated;
  state_[granule] = 0;
  while (order + 1 < kOrders) {  // join with the buddy while that is free and whole
    const uint32_t buddy = granule ^ (1u << order);
    if (buddy >= granules_ || state_[buddy] != (kFree | order)) break;
    unlink(buddy, order);
    granule &= ~(1u << order);
    ++order;
  }
  push(granule, order);
}

Pool::Run Pool::run_of(uint64_t offset) const {
  if (!area_.contains(offset, 1)) return {};
  const uint32_t at = static_cast<uint32_t>((offset - area_.offset) / kGranule);
  for (uint32_t order = 0; order < kOrders; ++order) {  // a run of an order begins at a multiple of its size
    const uint32_t head = at & ~((1u << order) - 1);
    const uint8_t state = state_[head];
    if (state == 0) continue;
    const uint32_t length = 1u << (state & 0x3f);
    if ((state & kAllocated) == 0 || at - head >= length) return {};
    return {area_.offset + uint64_t{head} * kGranule, length * kGranule};
  }
  return {};
}

}  // namespace ferry::ipc

// The two descriptor rings of a socket: one producer, one consumer, free-running 32-bit indices (abi::SocketShared).
//
// Each side keeps its own index in private memory; the shared copy is only written, never read back: the other process could
// have changed it. The other's index is loaded once and checked; a descriptor is copied once and the copy is validated.
#pragma once

#include <cstdint>

#include "base/atomics.h"
#include "base/result.h"
#include "ipc/abi.h"

namespace ferry::ipc {

// A range of the channel's memfd that descriptors may refer to.
struct PoolArea {
  uint64_t offset = 0;  // from the start of the memfd
  uint64_t size = 0;    // bytes
  bool contains(uint64_t at, uint64_t length) const {
    return at >= offset && at - offset <= size && length <= size - (at - offset);
  }
};

// One copy of a descriptor in shared memory: two 8-byte loads, whatever the other side does meanwhile.
inline abi::Descriptor load_descriptor(const abi::Descriptor& shared) {
  uint64_t words[2];
  words[0] = __atomic_load_n(reinterpret_cast<const uint64_t*>(&shared), __ATOMIC_RELAXED);
  words[1] = __atomic_load_n(reinterpret_cast<const uint64_t*>(&shared) + 1, __ATOMIC_RELAXED);
  abi::Descriptor copy;
  __builtin_memcpy(&copy, words, sizeof copy);
  return copy;
}

// Whether a (copied) descriptor names bytes of region 0 inside `area`.
inline bool is_inside(const abi::Descriptor& d, const PoolArea& area) {
  return d.region == 0 && area.contains(d.offset, d.length);
}

class RingConsumer {
 public:
  // Entries that can be taken. Errc::protocol: the producer's index is impossible (more than the ring holds).
  Result<uint32_t> available(const uint32_t& produced) const {
    const uint32_t n = load_acquire(produced) - next_;
    if (n > abi::kRingEntries) return Errc::protocol;
    return n;
  }
  // A copy of the entry `ahead` of the next one; ahead < available().
  abi::Descriptor peek(const abi::Descriptor* ring, uint32_t ahead = 0) const {
    return load_descriptor(ring[(next_ + ahead) % abi::kRingEntries]);
  }
  // Steps over `count` entries and publishes that in `consumed`.
  void advance(uint32_t& consumed, uint32_t count = 1) {
    next_ += count;
    store_release(consumed, next_);
  }
  uint32_t next() const { return next_; }
  // Goes on at a known index (a ring that was used before).
  void start_at(uint32_t next) { next_ = next; }

 private:
  uint32_t next_ = 0;
};

class RingProducer {
 public:
  // Free entries, 0 also if the consumer's index is impossible.
  uint32_t space(const uint32_t& consumed) const {
    const uint32_t used = next_ - load_acquire(consumed);
    return used > abi::kRingEntries ? 0 : abi::kRingEntries - used;
  }
  // Writes the next entry and publishes it in `produced`; the caller has checked space().
  void push(abi::Descriptor* ring, uint32_t& produced, const abi::Descriptor& d) {
    ring[next_ % abi::kRingEntries] = d;
    store_release(produced, ++next_);
  }
  uint32_t next() const { return next_; }
  // Goes on at a known index (a ring that was used before).
  void start_at(uint32_t next) { next_ = next; }

 private:
  uint32_t next_ = 0;
};

}  // namespace ferry::ipc

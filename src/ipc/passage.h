// The two byte rings of a passage: one producer, one consumer each, 64-bit positions that begin at 0 (abi::PassageEnd).
//
// Each side keeps its own position in private memory and only writes the shared copy. Words of the other side are loaded once and
// checked; whatever they hold, nothing beyond the ring is touched.
//
// Why `base` needs no hand-shake. The producer moves it only after it has seen that the consumer has read everything, and before it
// publishes the next byte. A consumer that has something to read has loaded a `produced` that was stored behind that base.
#pragma once

#include "base/atomics.h"
#include "base/bytes.h"
#include "base/result.h"
#include "ipc/abi.h"
#include "ipc/futex.h"

namespace ferry::ipc {

class PassageProducer {
 public:
  // `mine`: our end; `theirs`: the other; `ring`: kPassageBytes that we write. Goes on where our words say that this process has been.
  PassageProducer(abi::PassageEnd& mine, const abi::PassageEnd& theirs, std::byte* ring)
      : mine_(mine), theirs_(theirs), ring_(ring), produced_(load_relaxed(mine.produced)), base_(load_relaxed(mine.base)) {}

  // Bytes in the ring, not yet read. Errc::protocol: the other's position is impossible.
  Result<uint32_t> used() const {
    const uint64_t n = outstanding();
    if (n > abi::kPassageBytes) return Errc::protocol;
    return static_cast<uint32_t>(n);
  }
  // The same, whatever it is; any thread may ask.
  uint64_t outstanding() const { return load_relaxed(produced_) - load_acquire(theirs_.consumed); }
  // Contiguous room at the next position, given what used() said; `used` < kPassageBytes. An empty ring begins again at its start.
  MutableByteSpan room(uint32_t used) {
    if (used == 0) {
      base_ = produced_;
      store_relaxed(mine_.base, base_);
    }
    const auto at = static_cast<uint32_t>((produced_ - base_) % abi::kPassageBytes);
    const uint32_t free = abi::kPassageBytes - used, to_end = abi::kPassageBytes - at;
    return {ring_ + at, free < to_end ? free : to_end};
  }
  // The first n bytes of room() are written.
  void commit(uint32_t n) {
    store_relaxed(produced_, produced_ + n);
    store_release(mine_.produced, produced_);
  }
  uint64_t position() const { return produced_; }

 private:
  abi::PassageEnd& mine_;
  const abi::PassageEnd& theirs_;
  std::byte* ring_;
  uint64_t produced_, base_;
};

class PassageConsumer {
 public:
  // `ring`: kPassageBytes that the other side writes.
  PassageConsumer(abi::PassageEnd& mine, const abi::PassageEnd& theirs, const std::byte* ring)
      : mine_(mine), theirs_(theirs), ring_(ring), consumed_(load_relaxed(mine.consumed)) {}

  // Bytes that can be read. Errc::protocol: the other's position is impossible.
  Result<uint32_t> available() const {
    const uint64_t n = unread();
    if (n > abi::kPassageBytes) return Errc::protocol;
    return static_cast<uint32_t>(n);
  }
  // The same, whatever it is; any thread may ask.
  uint64_t unread() const { return load_acquire(theirs_.produced) - load_relaxed(consumed_); }
  // The contiguous bytes from `ahead` of the next position on; ahead < available.
  ByteSpan bytes(uint32_t available, uint32_t ahead = 0) const {
    const auto at = static_cast<uint32_t>((consumed_ + ahead - load_relaxed(theirs_.base)) % abi::kPassageBytes);
    const uint32_t left = available - ahead, to_end = abi::kPassageBytes - at;
    return {ring_ + at, left < to_end ? left : to_end};
  }
  void consume(uint32_t n) {
    store_relaxed(consumed_, consumed_ + n);
    store_release(mine_.consumed, consumed_);
  }
  uint64_t position() const { return consumed_; }

 private:
  abi::PassageEnd& mine_;
  const abi::PassageEnd& theirs_;
  const std::byte* ring_;
  uint64_t consumed_;
};

// Zeroes the end for a new connection, but for the words that threads sleep by (see renew() of a socket's slot).
inline void renew(abi::PassageEnd& end) {
  zero(&end, &end.waiters);
  zero(&end.wants, &end.event_seq);
}

// Tells threads that block on this end.
inline void signal_passage_waiters(abi::PassageEnd& end) {
  atomic_add(end.event_seq, 1u);  // a full fence as well
  if (load_relaxed(end.waiters) != 0) futex_wake(end.event_seq, kWakeAll);
}

// Tells the client of `end` that the other one has changed something, after it has: threads that block on it, and its event queues, of
// which wake(queue) is called for each that sleeps. `queues`: its side's, abi::kMaxQueues of them.
template <typename Wake>
void signal_passage(abi::PassageEnd& end, uint32_t passage, abi::PeerQueue* queues, Wake&& wake) {
  signal_passage_waiters(end);
  for (const uint32_t& watch : end.watches) {
    const uint32_t queue = load_relaxed(watch);  // once: the other client may change it at any time
    if (queue == 0 || queue > abi::kMaxQueues) continue;
    abi::PeerQueue& q = queues[queue - 1];
    atomic_or(q.ready[passage / 64], uint64_t{1} << passage % 64);
    if (__atomic_load_n(&q.sleeping, __ATOMIC_SEQ_CST) != 0 && atomic_exchange(q.sleeping, 0u) != 0) wake(queue - 1);
  }
}

}  // namespace ferry::ipc

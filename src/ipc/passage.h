// The two byte rings of a passage: one producer, one consumer each, 64-bit positions that begin at 0 (abi::PassageEnd). Between two bytes of a
// ring a page that the producer only refers to may come (abi::PassageReference).
//
// Each side keeps its own position in private memory and only writes the shared copy. Words of the other side are loaded once and
// checked; whatever they hold, nothing beyond the ring is touched.
//
// Why `base` needs no hand-shake. The producer moves it only after it has seen that the consumer has read everything, and before it
// publishes the next byte. A consumer that has something to read has loaded a `produced` that was stored behind that base. In the same way
// one that loads `produced`, then `references`, knows of every reference in front of the bytes that it sees.
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
      : mine_(mine),
        theirs_(theirs),
        ring_(ring),
        produced_(load_relaxed(mine.produced)),
        base_(load_relaxed(mine.base)),
        referred_(load_relaxed(mine.referred)),
        references_(load_relaxed(mine.references)) {}

  // Bytes in the ring, not yet read. Errc::protocol: the other's position is impossible.
  Result<uint32_t> used() const {
    const uint64_t n = in_ring();
    if (n > abi::kPassageBytes) return Errc::protocol;
    return static_cast<uint32_t>(n);
  }
  // The same, whatever it is; any thread may ask.
  uint64_t in_ring() const { return load_relaxed(produced_) - load_acquire(theirs_.consumed); }
  // Bytes that are not read yet, those of references included, whatever that is; any thread may ask.
  uint64_t outstanding() const {
    return in_ring() + load_relaxed(referred_) - load_acquire(theirs_.dereferred);
  }
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

  // Whether one more reference has room, given that those that are not read yet may make up `limit` bytes. Any thread may ask.
  bool can_refer(uint64_t limit) const {
    return load_relaxed(references_) - load_acquire(theirs_.dereferences) < abi::kPassageReferences &&
           load_relaxed(referred_) - load_acquire(theirs_.dereferred) < limit;
  }
  // The bytes of `r` come next; `r.at` is set here. can_refer() has been asked.
  void refer(abi::PassageReference r) {
    r.at = produced_;
    mine_.reference[references_ % abi::kPassageReferences] = r;
    store_relaxed(referred_, referred_ + r.length);
    store_relaxed(mine_.referred, referred_);
    store_relaxed(references_, references_ + 1);
    store_release(mine_.references, references_);
  }

 private:
  abi::PassageEnd& mine_;
  const abi::PassageEnd& theirs_;
  std::byte* ring_;
  uint64_t produced_, base_, referred_;
  uint32_t references_;
};

class PassageConsumer {
 public:
  // How far the stream has been read, or looked at.
  struct Place {
    uint64_t position = 0;        // in the ring
    uint32_t references = 0;      // read to their end
    uint32_t used = 0;            // bytes read of the next one
  };
  // What is at a place.
  struct Piece {
    ByteSpan bytes;                    // in the ring, in a row
    abi::PassageReference reference{}; // a checked copy, if it refers: `length` > Place::used
    bool refers = false;
    bool empty() const { return bytes.empty() && !refers; }
  };

  // `ring`: kPassageBytes that the other side writes. Goes on like the producer.
  PassageConsumer(abi::PassageEnd& mine, const abi::PassageEnd& theirs, const std::byte* ring)
      : mine_(mine),
        theirs_(theirs),
        ring_(ring),
        place_{load_relaxed(mine.consumed), load_relaxed(mine.dereferences), load_relaxed(mine.reference_used)},
        dereferred_(load_relaxed(mine.dereferred)) {}

  // Bytes that can be read, those of references included, whatever the other's words make of it; any thread may ask.
  uint64_t unread() const {
    return load_acquire(theirs_.produced) - load_relaxed(place_.position) + load_acquire(theirs_.referred) - load_relaxed(dereferred_);
  }
  const Place& place() const { return place_; }
  // What comes at `place`, which is place() or was reached from there by pass(). Empty: nothing yet. Errc::protocol: the other's words are
  // impossible.
  Result<Piece> at(const Place& place) const {
    uint64_t n = load_acquire(theirs_.produced) - place.position;
    const uint32_t references = load_acquire(theirs_.references) - place.references;
    if (n > abi::kPassageBytes || references > abi::kPassageReferences) return Errc::protocol;
    Piece piece;
    if (references > 0) {
      piece.reference = theirs_.reference[place.references % abi::kPassageReferences];
      const uint64_t ahead = piece.reference.at - place.position;
      if (ahead > abi::kPassageBytes || !is_possible(piece.reference) || piece.reference.length <= place.used) return Errc::protocol;
      piece.refers = ahead == 0;
      if (n > ahead) n = ahead;
    }
    if (n == 0) return piece;
    const auto start = static_cast<uint32_t>((place.position - load_relaxed(theirs_.base)) % abi::kPassageBytes);
    const uint64_t to_end = abi::kPassageBytes - start;
    piece.bytes = {ring_ + start, n < to_end ? n : to_end};
    return piece;
  }
  // The place n bytes further in the piece that is there.
  static void pass(Place& place, const Piece& piece, uint32_t n) {
    if (!piece.refers) {
      store_relaxed(place.position, place.position + n);
    } else if (place.used += n; place.used == piece.reference.length) {
      place.used = 0;
      ++place.references;
    }
  }
  // n bytes of the piece at place() have been read. What they refer to is not looked at any more when all of it has.
  void consume(const Piece& piece, uint32_t n) {
    pass(place_, piece, n);
    if (!piece.refers) return store_release(mine_.consumed, place_.position);
    store_relaxed(dereferred_, dereferred_ + n);
    store_relaxed(mine_.reference_used, place_.used);
    store_release(mine_.dereferred, dereferred_);
    store_release(mine_.dereferences, place_.references);
  }

  // Whether the words of a (copied) reference are in their ranges.
  static bool is_possible(const abi::PassageReference& r) {
    return r.region >= 1 && r.region <= abi::kMaxRegions && r.hold < abi::kPeerHolds && r.length >= 1 &&
           r.length <= abi::kHugePageSize - r.offset % abi::kHugePageSize;
  }

 private:
  abi::PassageEnd& mine_;
  const abi::PassageEnd& theirs_;
  const std::byte* ring_;
  Place place_;
  uint64_t dereferred_;
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

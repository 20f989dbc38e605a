// Streams in a passage: one copy into the ring that we write, one out of the ring that the other client writes, or whole pages without any
// (passage_pages.cc); the server has no part in it.
// Its words are not believed: impossible ones make us ask the server to end the passage, which resets the connection.
#include "client/passage.h"

#include <sys/socket.h>
#include <x86intrin.h>

#include <algorithm>

#include "client/event_queue.h"
#include "client/iov_cursor.h"
#include "client/receiving.h"
#include "client/ring_lock.h"

namespace ferry::client {

namespace abi = ipc::abi;

namespace {
constexpr uint32_t kChunk = Passage::kChunk;
constexpr uint64_t kLeast = 4096;       // room that is worth using when more is to be sent, bytes

// As IovCursor::copy_out.
size_t put_bytes(Passage& p, IovCursor& data, std::byte* to, uint32_t n) {
  if (n < kChunk) return data.copy_out(to, n);
  if (p.stores.streams()) return data.copy_out(to, n, guarded_stream);
  const uint64_t began = __rdtsc();
  const size_t done = data.copy_out(to, n);
  p.stores.stored(__rdtsc() - began, n);
  return done;
}
}  // namespace

// The passage that the server has opened becomes this home's. 0: look at the mode again; -ENETDOWN. Caller holds mutex_.
int Socket::join(Home& h) {
  abi::SocketShared& s = *h.shared;
  const uint32_t epoch = load_acquire(s.passage_epoch);
  if (Passage* p = load_acquire(h.passage); p != nullptr && p->epoch == epoch) return 0;
  const uint32_t number = load_relaxed(s.peer_region), serial = load_relaxed(s.peer_serial);
  const uint32_t passage = load_relaxed(s.passage), side = load_relaxed(s.passage_side);
  // Nothing of this changes while the mode and the epoch stay.
  full_fence();
  if (load_acquire(s.mode) != abi::kModePassing || load_acquire(s.passage_epoch) != epoch) return 0;
  if (number >= abi::kMaxPeerRegions || passage >= abi::kPassages || side > 1) {
    h.channel->mark_dead();
    return -ENETDOWN;
  }
  const ipc::PeerRegionView region = h.channel->peers().region(number, serial);
  if (!region.mapped()) {
    ask_to_leave(h);
    const timespec a_moment = ipc::to_timespec(Duration::ms(5));
    const uint32_t seen = load_acquire(s.event_seq);
    if (load_acquire(s.mode) == abi::kModePassing) ipc::futex_wait(s.event_seq, seen, &a_moment);
    return 0;
  }
  // Behind the lock, so that the passage does not end, and another socket's begin at the same place, in the middle of this.
  RingLock lock;
  if (!lock.acquire(h, Side::tx) || load_acquire(s.mode) != abi::kModePassing || load_acquire(s.passage_epoch) != epoch) return 0;
  auto* p = new Passage(epoch, number, passage, side, region, h.channel->peers().pages(number));
  p->older = h.passage;
  h.channel->peers().assign(number, side, passage, h.slot);
  store_release(h.passage, p);
  lock.release();
  // Who sleeps on one of our queues may not have announced it in that region.
  for (EventQueue* queue : watches_)
    if (queue != nullptr) queue->wake_sleepers();
  return 0;
}

// The other client's events go to these queues as well as the server's. Caller holds mutex_.
void Socket::watch_passage(Home& h, uint32_t place, uint32_t queue) {
  while (load_acquire(h.shared->mode) == abi::kModePassing && load_acquire(h.shared->generation) == h.generation) {
    RingLock lock;  // as in join()
    if (!lock.acquire(h, Side::tx)) {
      ipc::wait_while_revoked(h.shared->tx_lock, &kLookAgain);
      continue;
    }
    if (Passage* p = passage_of(h)) return atomic_exchange(p->mine.watches[place], queue), void();
    lock.release();
    if (join(h) != 0) return;
  }
}

void Socket::ask_to_leave(Home& h) {
  atomic_or(h.shared->wants, uint32_t{abi::kWantLeave});
  h.channel->ring(h.engine, h.slot);
}

// The passage that the home is in; nullptr: in none, or this process has not joined it yet.
Passage* Socket::passage_of(const Home& h) {
  if (__builtin_expect(load_acquire(h.shared->mode) != abi::kModePassing, 1)) return nullptr;
  Passage* p = load_acquire(h.passage);
  return p != nullptr && p->epoch == load_relaxed(h.shared->passage_epoch) ? p : nullptr;
}

// Whether the next byte of output goes through the passage: not behind something that is in the ring already.
bool Socket::sends_by_passage(const Home& h, int flags) {
  return (flags & MSG_OOB) == 0 && h.tx.space(h.shared->tx_taken) == abi::kRingEntries;
}

// As put_stream. Under tx_lock.
size_t Socket::put_passage(Home& h, Passage& p, IovCursor& data, bool& fault) {
  const uint64_t limit = std::min<uint64_t>(load_relaxed(h.shared->passage_limit), abi::kPassageBytes);
  size_t put = 0, copied = 0;
  while (data.left() > 0) {
    const auto used = p.out.used();
    if (!used) {
      ask_to_leave(h);
      break;
    }
    uint64_t ahead = kChunk;  // bytes to be copied before a page may be referred to
    if (const uint32_t n = put_page(h, p, data, ahead); n > 0) {
      put += n;
      p.signal(*h.channel);
      continue;
    }
    const uint64_t space = limit > *used && ahead > 0 ? limit - *used : 0;
    if (space == 0 || (space < std::min<uint64_t>(data.left(), kLeast) && *used > 0)) break;
    const MutableByteSpan room = p.out.room(*used);
    const auto n = static_cast<uint32_t>(std::min({uint64_t{data.left()}, space, uint64_t{room.size()}, ahead}));
    const auto done = static_cast<uint32_t>(put_bytes(p, data, room.data(), n));
    fault = done < n;
    if (done == 0 || (fault && !data.is_file())) break;
    p.out.commit(done);
    put += done;
    copied += done;
    p.signal(*h.channel);
    if (fault) break;
  }
  store_relaxed(h.copied_out, h.copied_out + copied);
  store_relaxed(h.shared->copied_out, h.copied_out);
  return put;
}

// As take_stream. Under rx_lock.
size_t Socket::take_passage(Home& h, Passage& p, Receiving& r, bool& fault) {
  const bool peek = (r.flags & MSG_PEEK) != 0;
  size_t taken = 0, copied = 0;
  invite_pages(h, p, r);
  ipc::PassageConsumer::Place ahead = p.in.place();
  while (r.to.left() > 0) {
    const auto piece = p.in.at(peek ? ahead : p.in.place());
    if (!piece) {
      ask_to_leave(h);
      break;
    }
    if (piece->empty()) break;
    size_t n = 0;
    bool mapped = false;
    if (piece->refers) {
      n = take_page(h, p, r, piece->reference, ahead.used, mapped, fault);
      copied += mapped || (r.flags & MSG_TRUNC) != 0 ? 0 : n;
    } else if (n = std::min({piece->bytes.size(), r.to.left(), size_t{kChunk}}); (r.flags & MSG_TRUNC) != 0) {
      r.to.skip(n);
    } else if (r.to.copy_in(piece->bytes.data(), n) == n) {
      copied += n;
    } else {
      fault = true;
    }
    if (n == 0 || fault) break;
    taken += n;
    if (peek) {
      ipc::PassageConsumer::pass(ahead, *piece, static_cast<uint32_t>(n));
      continue;
    }
    p.in.consume(*piece, static_cast<uint32_t>(n));
    ahead = p.in.place();
    if (piece->refers && !mapped && ahead.used == 0) p.pages.done(1 - p.side, piece->reference.hold);
    // The writer sets the bit, then looks at the room.
    full_fence();
    const bool room = piece->refers ? ahead.used == 0 : piece->bytes.size() - n <= abi::kPassageBytes * 2 / 3;
    if ((load_relaxed(p.theirs.wants) & abi::kWantWrite) == 0 || !room) continue;
    atomic_and(p.theirs.wants, ~uint32_t{abi::kWantWrite});
    p.signal(*h.channel);
  }
  if (!peek && copied > 0) {
    store_relaxed(h.copied_in, h.copied_in + copied);
    store_relaxed(h.shared->copied_in, h.copied_in);
  }
  return taken;
}

}  // namespace ferry::client

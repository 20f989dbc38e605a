// Passages: a connection whose two ends are at home in clients of this server goes on in memory that only these two (and the server) map, with
// neither protocol processing nor the server between them. docs/architecture.md, "Same host"; the words are in ipc/abi.h (PassageEnd).
//
//   consider_passage: see socket_passage_begin.cc --> open
//   leave_passage: revoke all four locks --free?--> finish_passage: tell the stack what was passed, keep what was not read as input,
//        kModeShared; or wait, at most kPatience, and reset the connection: the holder may have bytes half read or half written.
//        While one end stands still, the other one has its locks back: a call that does not wait is not to wait for somebody else's process
//
// What the program has not read when the passage begins stays in its input ring, and is read first. What it puts into its output ring
// while the passage lasts (shutdown, urgent data) comes after everything in the passage: it ends it.
#include "ipc/lock.h"
#include "ipc/passage.h"
#include "port/api/log.h"
#include "server/peers.h"
#include "server/sockets.h"

namespace ferry::server {
namespace abi = ipc::abi;
namespace {

constexpr Duration kLongCall = Duration::ms(20);  // who holds a lock for longer is not in the middle of a copy, but stands still
constexpr uint64_t kMostPassed = uint64_t{1} << 60;  // bytes: more than a connection lives to pass, and sums of it stay numbers
constexpr uint64_t kMostReferred = abi::kPassageReferences * abi::kHugePageSize;
constexpr uint64_t kTunedReferring = 4 * abi::kHugePageSize;
constexpr uint32_t kPiece = 64 * 1024;       // of unread bytes: what finds room in an input pool at once

// The words of one direction as they are now, written at one end, read at the other; the reader's first, so that it has not read more than
// was written.
struct Direction {
  uint64_t consumed, dereferred;
  uint32_t dereferences, used;
  uint64_t produced, base, referred;
  uint32_t references;
  Direction(const abi::PassageEnd& writer, const abi::PassageEnd& reader)
      : consumed(load_acquire(reader.consumed)),
        dereferred(load_acquire(reader.dereferred)),
        dereferences(load_acquire(reader.dereferences)),
        used(load_relaxed(reader.reference_used)),
        produced(load_acquire(writer.produced)),
        base(load_relaxed(writer.base)),
        referred(load_acquire(writer.referred)),
        references(load_acquire(writer.references)) {}
  Direction(const Passage& p, uint32_t from)
      : Direction(p.region->view().end(p.number, from), p.region->view().end(p.number, 1 - from)) {}

  uint64_t written() const { return produced + referred; }
  uint64_t read() const { return consumed + dereferred; }
  bool possible(uint64_t told) const {
    return consumed <= produced && produced - consumed <= abi::kPassageBytes && produced <= kMostPassed && dereferred <= referred &&
           referred - dereferred <= kMostReferred && referred <= kMostPassed && told <= read();
  }
};

}  // namespace

// What nobody has read of a direction, whose two clients do not change it any more.
struct Socket::Unread {
  Direction d;
  abi::PassageReference references[abi::kPassageReferences];  // copies
  uint32_t count = 0;
  uint64_t bytes = 0;
  bool possible = false;

  Unread(const Passage& p, uint32_t from) : d(p, from) {
    const abi::PassageEnd& writer = p.region->view().end(p.number, from);
    count = d.references - d.dereferences;
    if (!d.possible(p.ends[from].told) || count > abi::kPassageReferences) return;
    bytes = d.produced - d.consumed;
    uint64_t in_front = d.consumed;
    for (uint32_t i = 0; i < count; ++i) {
      abi::PassageReference& r = references[i];
      r = writer.reference[(d.dereferences + i) % abi::kPassageReferences];
      if (!ipc::PassageConsumer::is_possible(r) || r.at < in_front || r.at > d.produced) return;
      bytes += r.length;
      in_front = r.at;
    }
    if (count > 0 ? d.used >= references[0].length || (d.used > 0 && references[0].at != d.consumed) : d.used > 0) return;
    bytes -= d.used;
    possible = true;
  }
  // As the list of references has it: a writer that died may have counted one that it had not made yet.
  uint64_t written() const { return d.read() + bytes; }
};


bool Socket::in_passage() const { return passage_ != nullptr && passage_->state >= Passage::State::open; }

Socket* Socket::other_end() const { return passage_->ends[1 - passage_->side_of(*this)].socket; }

// The words of SocketShared that belong to the passage.
void Socket::publish_passage(abi::SocketShared& s) {
  const Passage& p = *passage_;
  const uint32_t side = p.side_of(*this);
  uint32_t number = 0;
  while (number < abi::kMaxPeerRegions - 1 && p.ends[side].home->peer_region(number) != p.region) ++number;
  // As on the way through the stack: what the writer may have outstanding, and what the reader may have unread.
  const uint64_t limit = uint64_t{send_buffer_} + other_end()->receive_buffer_;
  store_relaxed(s.peer_region, number);
  store_relaxed(s.peer_serial, p.region->serial());
  store_relaxed(s.passage, p.number);
  store_relaxed(s.passage_side, side);
  store_relaxed(s.passage_limit, static_cast<uint32_t>(limit < abi::kPassageBytes ? limit : abi::kPassageBytes));
  // Sizes that are tuned by the traffic stand still while the stack sees none: what they may grow to is allowed at once.
  const bool fixed = fixed_buffers_ || other_end()->fixed_buffers_;
  const uint64_t referring = fixed || limit > kTunedReferring ? limit : kTunedReferring;
  store_relaxed(s.passage_referring, p.region->passes_pages() ? static_cast<uint32_t>(referring < kMostReferred ? referring : kMostReferred) : 0);
  store_release(s.passage_epoch, passage_epoch_);
}

void Socket::refresh_buffers() {
  fixed_buffers_ = true;
  state_changed_ = true;
  mark();
  if (!in_passage()) return;
  other_end()->state_changed_ = true;
  other_end()->mark();
}

// --- in the passage ---

// One look at it. True: there is no passage (any more, or yet).
bool Socket::run_passage() {
  switch (passage_->state) {
    case Passage::State::entering: enter_passage(); break;
    case Passage::State::draining:  // goes on as without; consider_passage() looks at it
      if (!both_may_pass()) abandon_passage();
      return true;
    case Passage::State::open:
      if (wants_to_leave()) leave_passage();
      break;
    case Passage::State::leaving: leave_passage(); break;
  }
  return passage_ == nullptr;
}

bool Socket::wants_to_leave() {
  Attachment* h = home();
  if (h == nullptr || gone_ || kernel_mode_ || move_ != MoveKind::none || (ready_ & abi::kHangUp) != 0) return true;
  if ((load_relaxed(h->shared().wants) & abi::kWantLeave) != 0) return true;
  auto output = h->tx.available(h->shared().tx_produced);
  return !output || *output > 0;
}

void Socket::tell_passed() {
  if (!in_passage()) return;
  for (uint32_t side : {0u, 1u}) {
    Passage::End& from = passage_->ends[side];
    const Direction d(*passage_, side);
    if (!d.possible(from.told) || d.read() == from.told) continue;
    stack::Call call;
    call.op = stack::CallOp::pass;
    call.socket = from.socket->id_;
    call.number = static_cast<int64_t>(d.read() - from.told);
    if (ctx_.protocols.call(call).error == Errc::ok) from.told = d.read();
  }
}

Socket::Passed Socket::passed() const {
  Passed sum = passed_;
  if (!in_passage()) return sum;
  const uint32_t side = passage_->side_of(*this);
  const Direction out(*passage_, side), in(*passage_, 1 - side);
  if (out.possible(0)) sum.out += out.written(), sum.referred += out.referred;
  if (in.possible(0)) {
    sum.in += in.read();
    sum.unread = in.written() - in.read();
  }
  return sum;
}

// --- leaving ---

namespace {

// True: nobody of that process is in the passage, or will be.
bool revoke_locks(Passage::End& e) {
  if (e.home == nullptr) return true;
  abi::SocketShared& s = e.home->shared(e.slot);
  const bool tx_free = ipc::revoke(s.tx_lock), rx_free = ipc::revoke(s.rx_lock);
  return tx_free && rx_free;
}

}  // namespace

bool Socket::leave_passage() {
  if (passage_ == nullptr) return true;
  if (!in_passage()) {
    abandon_passage();
    return true;
  }
  Passage& p = *passage_;
  if (p.state == Passage::State::open) {
    p.state = Passage::State::leaving;
    p.deadline = ctx_.now + kPatience;
    for (Passage::End& e : p.ends) e.socket->expect_locks(ctx_.now + kLongCall);
  }
  const bool free[2] = {revoke_locks(p.ends[0]), revoke_locks(p.ends[1])};
  if (free[0] && free[1]) return finish_passage(false);
  if (ctx_.now < p.deadline - kPatience + kLongCall) return false;
  const bool known = p.ends[0].stood_still || p.ends[1].stood_still;
  for (uint32_t side : {0u, 1u}) {
    Passage::End& e = p.ends[side];
    if (!known) e.stood_still = !free[side];
    e.socket->expect_locks(p.deadline);
  }
  if (ctx_.now < p.deadline) {
    for (uint32_t side : {0u, 1u})
      if (Passage::End& e = p.ends[side]; free[side] && !e.stood_still && e.home != nullptr) give_back_locks(e.home->shared(e.slot));
    return false;
  }
  // The other client has waited for this one, and is not to do so again.
  for (uint32_t side : {0u, 1u})
    if (!free[side] && p.ends[side].stood_still) p.ends[side].home->forbid_peers();
  ++ctx_.counters.forced_moves;
  return finish_passage(true, "one of them does not let go of it");
}

void Socket::tear_passage() {
  if (!leave_passage()) finish_passage(true);
}

// The home's process is gone, and holds no lock; what it has written is there.
void Socket::on_home_gone() {
  if (passage_ == nullptr) return;
  passage_->ends[passage_->side_of(*this)].home = nullptr;
  leave_passage();
}

// Nobody but us uses the passage now, unless `forced`. `broken`: why the connection cannot go on, if it cannot. True.
bool Socket::finish_passage(bool forced, const char* broken) {
  Passage& p = *passage_;
  const Unread ways[2] = {Unread(p, 0), Unread(p, 1)};
  const bool possible = ways[0].possible && ways[1].possible;
  uint64_t moved = 0, unread = 0;
  for (uint32_t side : {0u, 1u}) {
    if (!possible) break;
    const Unread& way = ways[side];
    Socket &from = *p.ends[side].socket, &to = *p.ends[1 - side].socket;
    stack::Call call;
    call.op = stack::CallOp::pass;
    call.socket = from.id_;
    call.number = static_cast<int64_t>(way.written() - p.ends[side].told);
    call.flags = static_cast<uint32_t>(way.bytes);
    ctx_.protocols.call(call);  // a connection that has failed meanwhile counts no more, but what was passed can be read
    from.passed_.out += way.written();
    from.passed_.referred += way.d.referred;
    ctx_.counters.referenced_out += way.d.referred;
    to.passed_.in += way.d.read();
    to.read_before_ += way.d.read();
    if (Attachment* h = to.home()) h->rx_begin += way.d.read();
    moved += way.written();
    unread += way.bytes;
  }
  ++ctx_.counters.passages_left;
  ctx_.counters.passed_bytes += moved;
  bool kept = true;
  for (uint32_t side : {0u, 1u}) {
    if (!possible) break;
    const uint64_t found = p.ends[1 - side].socket->keep_unread(side, ways[side]);
    kept = kept && found == ways[side].bytes;
    unread -= ways[side].bytes - found;
  }
  p.region->expect(p.number, unread);
  Socket& first = *p.ends[0].socket;
  for (Passage::End& e : p.ends) {
    Socket& s = *e.socket;
    s.passage_ = nullptr;
    s.expect_no_locks();
    if (s.move_ != MoveKind::none) s.expect_locks(ctx_.now + kPatience);  // for what it does itself
    s.passage_at_ = s.runs_ + s.runs_before_passage();
    s.state_changed_ = s.event_ = true;
    if (e.home != nullptr) {
      abi::SocketShared& shared = e.home->shared(e.slot);
      atomic_and(shared.wants, ~uint32_t{abi::kWantLeave});
      // A socket with unread input never looks empty, not for a moment: it is in the ring before the program is told to look there.
      if (Attachment* h = s.home(); h != nullptr && !s.gone_) {
        s.sync_input();
        s.push_input(*h);
      }
      s.publish();
      give_back_locks(shared);
      ipc::signal_passage_waiters(p.region->view().end(p.number, p.side_of(s)));
    }
    s.mark();
  }
  ctx_.peers->close(p, moved, forced);
  if (!possible) broken = "its passage holds impossible positions";
  else if (!kept) broken = "its passage refers to memory that is not there";
  if (broken == nullptr) return true;
  ++ctx_.counters.passages_broken;
  first.break_connection(broken);
  return true;
}

// Bytes that `side` has written and this socket's program has not read become input, where they lie; the ring of the home gets copies. Returns
// how many.
uint64_t Socket::keep_unread(uint32_t side, const Unread& way) {
  PeerRegion& region = *passage_->region;
  uint64_t position = way.d.consumed, found = 0;
  const auto keep = [&](buf::RegionId memory, uint64_t at, uint64_t n) {
    for (found += n; n > 0;) {
      const auto piece = static_cast<uint32_t>(n < kPiece ? n : kPiece);
      rx_.push_back({at, piece, memory});
      rx_bytes_ += piece;
      at += piece;
      n -= piece;
    }
  };
  const auto keep_ring = [&](uint64_t to) {
    while (position < to) {
      const uint64_t at = (position - way.d.base) % abi::kPassageBytes;
      const uint64_t n = to - position < abi::kPassageBytes - at ? to - position : abi::kPassageBytes - at;
      keep(region.memory(), ipc::PeerRegionView::ring_offset(passage_->number, side) + at, n);
      position += n;
    }
  };
  for (uint32_t i = 0; i < way.count; ++i) {
    const abi::PassageReference& r = way.references[i];
    keep_ring(r.at);
    const uint32_t used = i == 0 ? way.d.used : 0;
    const buf::RegionId memory = region.keep(passage_->number, side, r, r.length - used);
    if (memory == 0) return found;
    keep(memory, used, r.length - used);
  }
  keep_ring(way.d.produced);
  return found;
}

// A client has written where it must not, or stands still in the middle of a call. The connection cannot go on.
void Socket::break_connection(const char* why) {
  port::log(port::LogLevel::warning, "a connection is reset: %s", why);
  stack::Call call;
  call.op = stack::CallOp::connect;  // to nobody: the other end is reset
  call.socket = id_;
  ctx_.protocols.call(call);
  fail(Errc::reset);
  ready_ |= abi::kReadClosed | abi::kWriteClosed | abi::kHangUp;
  ready_ &= ~uint32_t{abi::kWritable};
  state_changed_ = event_ = true;
  mark();
}

}  // namespace ferry::server

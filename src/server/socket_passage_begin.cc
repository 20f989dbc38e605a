// How a connection gets a passage (socket_passage.cc has the whole picture).
//
//   consider_passage: revoke both tx_locks --> enter_passage: feed what is in the rings, until nothing is under way in the stack
//        --> open_passage: kModePassing, locks given back
//   When a connection is full, that takes longer than anybody is to be kept from his ring: start_draining: locks given back; whoever has filled
//        his send buffer finds it full, while the other one goes on reading --> enter_passage once more
//   What takes too long is given up: abandon_passage. The next attempt comes later than the last one did.
#include "ipc/lock.h"
#include "server/peers.h"
#include "server/sockets.h"

namespace ferry::server {
namespace abi = ipc::abi;
namespace {

constexpr Duration kSettleTime = Duration::ms(5);
constexpr Duration kDrainTime = Duration::ms(500), kPause = Duration::ms(40);  // in all, and without anything being read meanwhile
constexpr uint8_t kMostTries = 16;

}  // namespace

bool Socket::may_pass() {
  constexpr uint32_t kOver = abi::kReadClosed | abi::kWriteClosed | abi::kHangUp | abi::kErrorPending;
  const Attachment* h = home();
  return type_ == stack::SocketType::tcp && h != nullptr && !kernel_mode_ && !gone_ && accepted_ && offered_by_ == 0 && !finished_ &&
         !id_dead_ && move_ == MoveKind::none && (ready_ & (abi::kConnected | kOver)) == abi::kConnected && urgent_mark_ == 0 &&
         h->channel->client_alive() && h->channel->peers_allowed() && !h->channel->condemned;
}

bool Socket::both_may_pass() { return may_pass() && other_end()->may_pass(); }

// How many runs to wait before the next try: more with every try.
uint32_t Socket::runs_before_passage() const {
  const uint32_t first = ctx_.limits.pass_after > 0 ? ctx_.limits.pass_after : 1;
  return first << passage_tries_;
}

// Looks whether the connection can have a passage, less and less often.
void Socket::consider_passage() {
  if (passage_ != nullptr && passage_->state == Passage::State::draining) return drain();
  if (passage_ != nullptr || passage_tries_ >= kMostTries) return;
  passage_at_ = runs_ + runs_before_passage();
  if (runs_ < ctx_.limits.pass_after || !ctx_.peers->enabled() || !may_pass()) return;
  ++passage_tries_;
  auto owner = ctx_.protocols.twin(id_);
  Socket* other = owner ? ctx_.sockets->find(*owner) : nullptr;
  if (other == nullptr || other->passage_ != nullptr || !other->may_pass()) return;
  PeerRegion* region = ctx_.peers->between(*home()->channel, *other->home()->channel);
  if (region == nullptr) return;
  // A client has the same side in all passages of a region: event queues belong to a side.
  const bool first = region->channel(0) == home()->channel;
  Passage* p = ctx_.peers->open(first ? *this : *other, first ? *other : *this, *region);
  if (p == nullptr) return;
  passage_ = other->passage_ = p;
  for (Passage::End& e : p->ends) {
    e.home = e.socket->home()->channel;
    e.slot = e.socket->home()->slot;
  }
  p->deadline = ctx_.now + kSettleTime;
  p->ends[0].socket->expect_locks(p->deadline);
  enter_passage();
}

// Hands what the program has written to the stack. False: a thread of its is in the output ring still; it rings.
bool Socket::hand_over_output() {
  Attachment& h = *home();
  if (!ipc::revoke(h.shared().tx_lock)) return false;
  take_output(h, true);
  feed();
  return backlog_.empty();
}

// Puts what has come into the ring for the program to read. False: not all of it has room there.
bool Socket::hand_over_input() {
  sync_input();
  Attachment& h = *home();
  push_input(h);
  return rx_.size() == h.in_ring();
}

// The order matters: the output of one is the input of the other, and what the passage brings comes behind all of it.
void Socket::enter_passage() {
  Passage& p = *passage_;
  Socket &a = *p.ends[0].socket, &b = *p.ends[1].socket;
  if (!both_may_pass()) return abandon_passage();
  const bool a_sent = a.hand_over_output(), b_sent = b.hand_over_output();
  if (a_sent && b_sent) {
    stack::Call call;
    call.op = stack::CallOp::settle;
    call.socket = id_;
    const Errc error = ctx_.protocols.call(call).error;
    if (error == Errc::not_supported || !both_may_pass()) return abandon_passage();
    const bool a_has_all = a.hand_over_input(), b_has_all = b.hand_over_input();
    if (!both_may_pass()) return abandon_passage();
    // The acknowledgements came back within the call.
    if (error == Errc::ok && a_has_all && b_has_all && a.span_bytes_ == 0 && b.span_bytes_ == 0) return open_passage();
  }
  if (ctx_.now < p.deadline || start_draining()) return;
  ++ctx_.counters.passages_given_up;
  abandon_passage();
}

// Whether all that was written here is where the other end's program can read it.
bool Socket::is_output_through() {
  Socket& to = *other_end();
  return backlog_.empty() && span_bytes_ == 0 && to.rx_.size() == to.home()->in_ring();
}

uint64_t Socket::bytes_read() const {
  uint64_t sum = 0;
  for (const Passage::End& e : passage_->ends) sum += e.socket->read_before_ + e.socket->home()->rx_reported;
  return sum;
}

// Only full send buffers are declared full, and once in an attempt. False: one that is not has something under way.
bool Socket::start_draining() {
  Passage& p = *passage_;
  if (p.latest != Instant()) return false;
  for (Passage::End& e : p.ends) {
    Socket& s = *e.socket;
    e.held_back = !s.is_output_through();
    if (e.held_back && s.backlog_.empty() && s.span_bytes_ < s.send_buffer_ / 2) return false;
  }
  p.state = Passage::State::draining;
  p.latest = ctx_.now + kDrainTime;
  wait_for_readers();
  for (Passage::End& e : p.ends) {
    e.socket->publish_words();
    ipc::end_revocation(e.home->shared(e.slot).tx_lock, true);
  }
  return true;
}

void Socket::wait_for_readers() {
  Passage& p = *passage_;
  p.deadline = ctx_.now + kPause;
  p.read = bytes_read();
  p.ends[0].socket->expect_locks(p.deadline);  // of one end always: the other's would lie in the past, and be waited for without sleep
}

bool Socket::is_held_back() const {
  return passage_ != nullptr && passage_->state == Passage::State::draining && passage_->ends[passage_->side_of(*this)].held_back;
}

// One look at a connection that is being drained.
void Socket::drain() {
  Passage& p = *passage_;
  Socket &a = *p.ends[0].socket, &b = *p.ends[1].socket;
  if (!both_may_pass()) return abandon_passage();
  if (a.is_output_through() && b.is_output_through()) {
    p.state = Passage::State::entering;
    p.deadline = ctx_.now + kSettleTime;
    a.expect_locks(p.deadline);
    return enter_passage();
  }
  if (ctx_.now < p.deadline) return;
  if (ctx_.now < p.latest && bytes_read() != p.read) return wait_for_readers();
  ++ctx_.counters.passages_given_up;
  abandon_passage();
}

void Socket::abandon_passage() {
  Passage& p = *passage_;
  for (Passage::End& e : p.ends) {
    Socket& s = *e.socket;
    s.passage_ = nullptr;
    s.expect_no_locks();
    s.passage_at_ = s.runs_ + s.runs_before_passage();
    s.state_changed_ = true;
    s.event_ |= e.held_back;  // a writer may find the words as they were after offer_space() has looked for its wish
    if (e.home != nullptr) ipc::end_revocation(e.home->shared(e.slot).tx_lock, true);
    s.mark();
  }
  ctx_.peers->close(p, 0, false);
}

void Socket::open_passage() {
  Passage& p = *passage_;
  p.state = Passage::State::open;
  ++ctx_.counters.passages_entered;
  for (Passage::End& e : p.ends) {
    Socket& s = *e.socket;
    s.expect_no_locks();
    ++s.passage_epoch_;
    s.state_changed_ = true;
    s.publish();
  }
  // A client that registers a queue writes SocketShared, then looks at the mode: one of us sees what the other did.
  full_fence();
  for (uint32_t side : {0u, 1u}) {
    Passage::End& e = p.ends[side];
    abi::SocketShared& s = e.home->shared(e.slot);
    for (uint32_t i = 0; i < abi::kWatches; ++i)
      store_relaxed(p.region->view().end(p.number, side).watches[i], load_relaxed(s.watches[i]));
    ipc::end_revocation(s.tx_lock, true);
    e.home->signal(e.slot);
  }
}

}  // namespace ferry::server

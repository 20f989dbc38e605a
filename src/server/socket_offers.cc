// Listeners: which connection the next accept(2) gets, and connections that are offered. See offers.h.
#include <algorithm>
#include <utility>

#include "server/sockets.h"

namespace ferry::server {
namespace abi = ipc::abi;

namespace {
constexpr uint8_t kMostAway = 4;  // so soon a program that comes to wait is known by it
}

void Socket::on_listening() {
  if (move_ != MoveKind::none) {  // a listener is at home in all of them
    if (Attachment* h = home()) give_back_locks(h->shared());
    end_move(Errc::not_supported);
  }
  listener_ = true;
  kernel_mode_ = false;  // a listener has no data; what it accepts may be opened in kernel mode
  home_ = -1;
  ready_ = 0;
  state_changed_ = event_ = true;
  mark();
}

void Socket::announce_acceptable() {
  for (Attachment& a : attachments_) store_release(a.shared().ready, visible_ready(a) | abi::kAcceptable);
}

void Socket::on_acceptable() {
  state_changed_ = arrived_ = true;
  mark();
}

void Socket::offer_to(Channel& channel) {
  if (!listener_ || type_ != stack::SocketType::tcp) return;
  if (!offers_) offers_ = std::make_unique<Offers>();
  OfferTaker* taker = find_taker(channel);
  if (taker == nullptr) {
    taker = &offers_->takers.emplace_back();
    taker->channel = &channel;
    taker->slot = slot_in(channel);
    // The ring may have had input, when the socket was connected to somebody.
    taker->produced = taker->seen = find(&channel, taker->slot)->rx_produced;
    abi::SocketShared& s = channel.shared(taker->slot);
    atomic_exchange(s.rx_consumed, taker->seen);
    store_release(s.rx_produced, taker->produced);
  }
  taker->takes = true;
  if (!waits_at_listener(*taker)) taker->away = std::min<uint8_t>(taker->away + 1, kMostAway);
  else if (taker->away > 0) --taker->away;
  mark();
}

OfferTaker* Socket::find_taker(const Channel& channel) {
  if (offers_)
    for (OfferTaker& t : offers_->takers)
      if (t.channel == &channel) return &t;
  return nullptr;
}

Result<Socket*> Socket::next_connection(Channel& asker, int64_t number) {
  Result<Socket*> next = oldest_for(asker, number);
  publish_words();  // before the answer: who has it may look at once whether there is another
  return next;
}

Result<Socket*> Socket::oldest_for(Channel& asker, int64_t number) {
  // What the asker was offered it cannot take, or it would not ask.
  if (OfferTaker* own = find_taker(asker)) take_back(*own);
  see_claims();
  if (offers_ && offers_->overdue) take_back_overdue(false);
  if (Socket* child = next_waiting(number)) return child;
  if (offers_ && offers_->overdue) take_back_overdue(true);
  if (Socket* child = next_waiting(number)) return child;
  return accept_error_;
}

// What clients have left lying that serve one connection at a time, or all of them, and what is behind it in time, is offered anew.
void Socket::take_back_overdue(bool from_all) {
  for (OfferTaker& t : offers_->takers) {
    if (!is_overdue(t) || !(t.serves_one() || from_all)) continue;
    take_back(t);
    t.takes = false;
  }
  for (OfferTaker& t : offers_->takers) {
    if (t.left() == 0 || offers_->returned.empty()) continue;
    const Socket* latest = ctx_.sockets->find(t.children[(t.produced - 1) % abi::kRingEntries]);
    if (latest != nullptr && latest->arrival_ > offers_->returned.front().arrival) take_back(t);
  }
}

// The oldest that nobody has, or is offered; nullptr, and accept_error_ says why.
Socket* Socket::next_waiting(int64_t number) {
  while (offers_ && !offers_->returned.empty()) {
    Socket* child = ctx_.sockets->find(offers_->returned.front().owner);
    offers_->returned.pop_front();
    if (child != nullptr && !child->id_dead_ && !child->finished_) return child;
  }
  for (;;) {
    stack::Call call;
    call.op = stack::CallOp::accept;
    call.socket = id_;
    call.number = number;
    const stack::CallResult result = ctx_.protocols.call(call);
    accept_error_ = result.error;
    if (result.error != Errc::ok) return nullptr;
    state_changed_ = true;
    if (Socket* child = ctx_.sockets->take_child(result.socket)) {
      if (offers_) child->arrival_ = ++offers_->arrivals;
      return child;
    }
    stack::Call close;  // it died while it waited
    close.op = stack::CallOp::close;
    close.socket = result.socket;
    ctx_.protocols.call(close);
  }
}

// By accept(2), poll(2) or epoll_wait(2), as its own words have it.
bool Socket::waits_at_listener(const OfferTaker& taker) {
  const abi::SocketShared& s = taker.channel->shared(taker.slot);
  bool waits = load_relaxed(s.waiters) != 0;
  for (const uint32_t& watch : s.watches) waits |= load_relaxed(watch) != 0;
  return waits;
}

// Whose turn it is among the clients that can be offered one; nullptr: nobody's.
OfferTaker* Socket::next_taker() {
  OfferTaker* best = nullptr;
  const bool shared = attachments_.size() > 1;
  const auto count = static_cast<uint32_t>(offers_->takers.size());
  for (uint32_t i = 0; i < count; ++i) {
    OfferTaker& t = offers_->takers[(offers_->turn + i) % count];
    const bool one = shared && t.serves_one();
    if (one && !waits_at_listener(t)) continue;
    if (!t.takes || t.left() >= (one ? 1 : abi::kMaxOffers) || !t.channel->client_alive() || !t.channel->stock().has(true) ||
        t.channel->socket_count() >= ctx_.limits.sockets || !ctx_.sockets->has_room(t.channel->identity().uid))
      continue;
    if (best == nullptr || t.left() < best->left()) best = &t;
  }
  ++offers_->turn;
  return best;
}

// Whether what one has left lying that serves one at a time can be offered to another.
bool Socket::others_can_take() const {
  bool overdue = false, taking = false;
  for (const OfferTaker& t : offers_->takers) {
    if (is_overdue(t)) overdue |= t.serves_one();
    else if (t.takes && t.channel->client_alive()) taking = true;
  }
  return overdue && taking;
}

void Socket::run_offers() {
  const bool arrived = std::exchange(arrived_, false);
  if (!offers_) {
    event_ |= arrived;
    return;
  }
  see_claims();
  if (others_can_take()) take_back_overdue(false);
  bool more = true;
  while (OfferTaker* taker = next_taker()) {
    Socket* child = next_waiting(0);
    if (child == nullptr) {
      more = false;
      break;
    }
    offer(*child, *taker);
  }
  event_ |= arrived && more;  // what is not offered is for whoever asks
  bool overdue = false;
  for (const OfferTaker& t : offers_->takers) overdue |= is_overdue(t);
  if (overdue != offers_->overdue) {
    offers_->overdue = overdue;
    state_changed_ = true;
    event_ |= overdue;
  }
  tell_held();
  const bool waits = !overdue && offer_deadline() != Instant::never();
  if (waits && !ListNode<OfferTag>::linked()) ctx_.offering.push_back(*this);
  if (!waits && ListNode<OfferTag>::linked()) ctx_.offering.erase(*this);
}

// When others are to be told of what this client leaves lying. Without others there is no hurry.
Instant Socket::deadline_of(const OfferTaker& taker) const {
  return taker.left() > 0 && attachments_.size() > 1 ? taker.since + kOfferPatience : Instant::never();
}

bool Socket::is_overdue(const OfferTaker& taker) const { return deadline_of(taker) <= ctx_.now; }

Instant Socket::offer_deadline() const {
  Instant deadline = Instant::never();
  for (const OfferTaker& t : offers_->takers) deadline = earlier(deadline, deadline_of(t));
  return deadline;
}

// Whether connections wait that nobody is offered, or that another has left lying: what a client is offered itself it may be taking just now.
// Those that the stack holds for us are part of its count.
bool Socket::can_be_asked(const Channel& asker) const {
  if (!offers_) return accept_count_ > 0;
  if (!offers_->returned.empty() || accept_count_ > offers_->held) return true;
  if (offers_->overdue)
    for (const OfferTaker& t : offers_->takers)
      if (t.channel != &asker && is_overdue(t)) return true;
  return false;
}

// For the bound on what may wait.
void Socket::tell_held() {
  uint32_t held = offers_->returned.size();
  for (const OfferTaker& t : offers_->takers) held += t.left();
  if (held == offers_->held) return;
  stack::Call call;
  call.op = stack::CallOp::set_option;
  call.socket = id_;
  call.option = stack::Option::held;
  call.number = held;
  if (ctx_.protocols.call(call).error == Errc::ok) offers_->held = held;
  state_changed_ = true;
}

void Socket::offer(Socket& child, OfferTaker& taker) {
  Channel& channel = *taker.channel;
  child.on_accepted();
  if (!ctx_.sockets->charge(child, channel.identity().uid)) return child.abandon();
  child.offered_by_ = owner_;
  if (auto info = ctx_.protocols.info(child.id_)) child.set_addresses(info->local, info->remote);
  auto pair = channel.stock().take(true);
  const uint32_t number = pair ? pair->number() : 0;
  if (pair) child.set_pair(std::move(pair));
  const uint32_t slot = child.pair_ ? child.attach(channel) : Channel::kNoSlot;
  if (slot == Channel::kNoSlot) {
    child.withdraw();
    put_back(child);
    taker.takes = false;  // until it asks again
    return;
  }
  child.publish();
  if (taker.left() == 0) taker.since = ctx_.now;
  taker.children[taker.produced % abi::kRingEntries] = child.owner();
  abi::SocketShared& s = channel.shared(taker.slot);
  s.rx[taker.produced % abi::kRingEntries] = abi::offer_of(slot, channel.generation(slot), number);
  store_release(s.ready, ready_);  // it was announced (kAcceptable), and is not to be seen twice
  store_release(s.rx_produced, ++taker.produced);
  ++ctx_.counters.offered;
  channel.signal(taker.slot);
}

void Socket::see_claims() {
  if (!offers_) return;
  for (OfferTaker& t : offers_->takers)
    if (t.left() > 0) see_claims(t, load_acquire(t.channel->shared(t.slot).rx_consumed));
}

void Socket::see_claims(OfferTaker& taker, uint32_t consumed) {
  uint32_t claimed = consumed - taker.seen;
  if (claimed > taker.left()) {
    condemn(*taker.channel, "more connections than were offered");
    claimed = taker.left();
  }
  if (claimed == 0) return;
  taker.since = ctx_.now;
  state_changed_ = true;
  for (; claimed > 0; --claimed) {
    Socket* child = ctx_.sockets->find(taker.children[taker.seen++ % abi::kRingEntries]);
    if (child == nullptr || child->offered_by_ != owner_) continue;
    child->offered_by_ = 0;
    ++ctx_.counters.accepted;
    child->mark();
  }
  FERRY_ASSERT(taker.left() <= abi::kMaxOffers);
}

// Among those that came back, by age.
void Socket::put_back(Socket& child) {
  ctx_.sockets->charge_pending(child, *this);
  Fifo<Returned>& all = offers_->returned;
  all.push_back({child.owner(), child.arrival_});
  for (uint32_t i = all.size() - 1; i > 0 && all[i - 1].arrival > all[i].arrival; --i) std::swap(all[i - 1], all[i]);
}

// Everything that the client has not taken yet.
void Socket::take_back(OfferTaker& taker) {
  if (taker.left() == 0) return;
  see_claims(taker, atomic_exchange(taker.channel->shared(taker.slot).rx_consumed, taker.produced));
  while (taker.left() > 0) {
    Socket* child = ctx_.sockets->find(taker.children[taker.seen++ % abi::kRingEntries]);
    if (child == nullptr || child->offered_by_ != owner_) continue;
    child->withdraw();
    put_back(*child);
    ++ctx_.counters.offers_taken_back;
  }
  arrived_ = state_changed_ = true;
  mark();
}

void Socket::stop_offers_to(const Channel& channel) {
  OfferTaker* taker = find_taker(channel);
  if (taker == nullptr) return;
  take_back(*taker);
  taker->takes = false;
}

void Socket::forget_taker(const Channel& channel) {
  stop_offers_to(channel);
  if (offers_) std::erase_if(offers_->takers, [&channel](const OfferTaker& t) { return t.channel == &channel; });
}

// The listener ends: what waits is reset, as what waits in the stack is.
void Socket::drop_offers() {
  if (!offers_) return;
  for (OfferTaker& t : offers_->takers) {
    take_back(t);
    // If it is going to be connected, the ring goes on behind the offers.
    Attachment* a = find(t.channel, t.slot);
    if (a == nullptr) continue;
    a->rx_produced = a->rx_released = t.produced;
    a->rx_bytes = a->rx_released_bytes;
  }
  while (!offers_->returned.empty()) {
    Socket* child = ctx_.sockets->find(offers_->returned.front().owner);
    offers_->returned.pop_front();
    if (child == nullptr || child->finished_ || child->id_dead_) continue;
    stack::Call call;
    call.op = stack::CallOp::abort;
    call.socket = child->id_;
    if (ctx_.protocols.call(call).error == Errc::bad_socket) child->closed_ = true;
    child->id_dead_ = true;
    child->mark();
  }
  offers_.reset();
  if (ListNode<OfferTag>::linked()) ctx_.offering.erase(*this);
}

// Of a child that is offered, as far as is known: whether it is its client's now.
bool Socket::look_for_claim() {
  if (Socket* listener = ctx_.sockets->find(offered_by_)) listener->see_claims();
  return offered_by_ == 0;
}

// Of a child: it cannot be taken any more where it is offered. False: it has been taken.
bool Socket::go_back() {
  if (is_claimed()) return false;
  Socket* listener = ctx_.sockets->find(offered_by_);
  if (const Channel* channel = user(); listener != nullptr && channel != nullptr) listener->stop_offers_to(*channel);
  return offered_by_ == 0 && !accepted_;
}

// Of a child: as it was before it was offered.
void Socket::withdraw() {
  ctx_.sockets->discharge(*this);
  if (Attachment* h = home()) {
    if (Errc e = take_error(); e != Errc::ok) fail(e);
    leave_home(*h);  // offered still: what the client says to have read does not count
  }
  if (move_ != MoveKind::none) end_move(Errc::bad_socket);
  drop_offers();
  offered_by_ = 0;
  accepted_ = false;
  while (!attachments_.empty()) detach(attachments_.size() - 1);
  pair_readable_ = pair_writable_ = false;  // the next pair is another
  if (!pair_) return;
  if (pair_->stock() != nullptr && !pair_->hung_up()) {
    give_pair_back();
  } else {
    drop_pair();
  }
}

}  // namespace ferry::server

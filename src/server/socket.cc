// Life and events of a socket. See socket.h.
#include "server/socket.h"

#include "port/api/log.h"
#include "server/engine.h"
#include "server/listener_parts.h"
#include "server/sockets.h"

namespace ferry::server {
namespace abi = ipc::abi;

Socket::Socket(Context& context, stack::Owner owner, stack::SocketType type)
    : ctx_(context), owner_(owner), type_(type), style_(context.protocols.service(type)->style), many_(context.protocols.service(type)->many) {
  if (!connects()) ready_ = abi::kWritable;
  if (type != stack::SocketType::tcp) passage_at_ = UINT32_MAX;
  send_buffer_ = receive_buffer_ = 256 * 1024;  // until the stack says
}

Socket::~Socket() {
  if (ListNode<RunTag>::linked()) ctx_.run.erase(*this);
  if (ListNode<MoveTag>::linked()) ctx_.moving.erase(*this);
  if (ListNode<StarvedTag>::linked()) ctx_.starved.erase(*this);
  if (ListNode<OfferTag>::linked()) ctx_.offering.erase(*this);
}

uint32_t Socket::kind() const {
  if (listener_) return abi::kKindListener;
  if (style_ == stack::Style::message) return many_ ? abi::kKindMessages : abi::kKindMessage;
  if (type_ == stack::SocketType::udp) return abi::kKindUdp;
  return is_stream() ? abi::kKindTcp : abi::kKindIcmp;
}

const Channel* Socket::user() const {
  if (home_ >= 0) return attachments_[static_cast<size_t>(home_)].channel;
  return attachments_.empty() ? nullptr : attachments_.front().channel;
}

UniqueFd Socket::make_pair() {
  UniqueFd k;
  if (auto pair = Pair::make(ctx_, is_stream(), k)) set_pair(std::move(pair));
  return k;
}

void Socket::set_pair(std::unique_ptr<Pair> pair) {
  pair_ = std::move(pair);
  pair_->set_user(this);
  ctx_.sockets->set_cookie(*this, pair_->cookie());
}

void Socket::set_part(uint64_t cookie) {
  part_of_ = cookie;
  ctx_.sockets->set_cookie(*this, cookie);
}

void Socket::close_parts() {
  if (!std::exchange(has_parts_, false)) return;
  ctx_.engines->post_to_others(ctx_.engine, [cookie = cookie()](Engine& engine) { close_part(engine.context(), cookie); });
}

void Socket::drop_pair() {
  if (!pair_) return;
  ctx_.sockets->forget_cookie(pair_->cookie());
  pair_.reset();
}

Errc Socket::come_to_use() {
  if (spare_) {
    spare_ = false;
    if (pair_ && pair_->stock() != nullptr) pair_->stock()->on_used(pair_->is_stream());
  }
  if (id_ != 0 || gone_) return Errc::ok;
  stack::Call call;
  call.op = stack::CallOp::open;
  call.type = type_;
  call.owner = owner_;
  call.number = uid_;
  stack::CallResult opened = ctx_.protocols.call(call);
  if (opened.error == Errc::ok) id_ = opened.socket;
  return opened.error;
}

uint32_t Socket::slot_in(const Channel& channel) const {
  for (size_t i = attachments_.size(); i-- > 0;)
    if (attachments_[i].channel == &channel) return attachments_[i].slot;
  return Channel::kNoSlot;
}

uint32_t Socket::attach(Channel& channel) {
  if (uint32_t slot = slot_in(channel); slot != Channel::kNoSlot) return slot;
  uint32_t slot = channel.assign(*this);
  if (slot == Channel::kNoSlot) return slot;
  Attachment a;
  a.channel = &channel;
  a.slot = slot;
  attachments_.push_back(a);
  if (!listener_ && !kernel_mode_ && home_ < 0) {
    home_ = static_cast<int>(attachments_.size() - 1);
    attachments_.back().used = true;
    attachments_.back().rx_begin = read_before_;
    event_ = true;
    push_input(attachments_.back());  // the answer finds it there: a program that accepts may not wait before it reads
    mark();
  }
  if (listener_) mark();  // what one has been offered may be waited for from now on
  state_changed_ = true;
  publish_to(attachments_.back());
  return slot;
}

Attachment* Socket::find(const Channel* channel, uint32_t slot) {
  for (Attachment& a : attachments_)
    if (a.channel == channel && a.slot == slot) return &a;
  return nullptr;
}

void Socket::detach(size_t index) {
  const uint64_t passed_in = passed().in;
  ctx_.counters.swapped_in += attachments_[index].swapped_in(passed_in);
  ctx_.counters.swapped_pages += attachments_[index].swapped_pages(passed_in);
  attachments_[index].channel->unassign(attachments_[index].slot);
  attachments_.erase(attachments_.begin() + static_cast<std::ptrdiff_t>(index));
  if (home_ == static_cast<int>(index)) {
    home_ = -1;
  } else if (home_ > static_cast<int>(index)) {
    --home_;
  }
}

void Socket::set_addresses(const stack::Endpoint& local, const stack::Endpoint& remote) {
  local_ = local;
  remote_ = remote;
  state_changed_ = true;
  mark();
}

bool Socket::begin_connecting() {
  if ((ready_ & (abi::kConnecting | abi::kConnected)) != 0) return false;
  ready_ = (ready_ | abi::kConnecting) & ~uint32_t{abi::kHangUp | abi::kReadClosed | abi::kWriteClosed | abi::kErrorPending};
  error_ = Errc::ok;  // that of the connection before, where a client would find it as well
  for (Attachment& a : attachments_) store_relaxed(a.shared().error, 0u);
  closed_before_ = closed_;
  closed_ = false;  // a connection that begins is told of closed anew
  state_changed_ = true;
  mark();
  return true;
}

void Socket::cancel_connecting() {
  closed_ = closed_before_;
  ready_ &= ~uint32_t{abi::kConnecting};
  state_changed_ = true;
  mark();
}

void Socket::on_shutdown(bool read, bool write) {
  leave_passage();
  if (read && listener_) drop_offers();
  if (read) ready_ |= abi::kReadClosed;
  if (write) ready_ = (ready_ | abi::kWriteClosed) & ~uint32_t{abi::kWritable};
  state_changed_ = event_ = true;
  mark();
}

void Socket::on_peer(bool connected) {
  passage_at_ = passage_tries_ = 0;
  ready_ = connected ? ready_ | abi::kConnected : ready_ & ~uint32_t{abi::kConnected};
  if (!connected && connects()) {  // as new: what was to be sent to the old peer is void, and what it has sent
    ready_ = 0;
    if (listener_) {  // no more
      listener_ = false;
      drop_offers();
      choose_home();
    }
    drop_output();
    if (is_stream()) forget_input();
  }
  state_changed_ = event_ = true;
  mark();
}

// Of a listener that is one no more. A slot that was left has a past, and its client knows that the socket is elsewhere.
void Socket::choose_home() {
  for (size_t i = 0; i < attachments_.size() && home_ < 0; ++i)
    if (!attachments_[i].left) home_ = static_cast<int>(i);
  if (Attachment* h = home()) h->used = true;
}

void Socket::on_accepted() {
  accepted_ = true;
  if (!closed_ && (ready_ & abi::kHangUp) == 0) ready_ |= abi::kConnected;
  if ((ready_ & (abi::kConnected | abi::kWriteClosed)) == abi::kConnected) ready_ |= abi::kWritable;
  state_changed_ = event_ = true;
  mark();
}

Errc Socket::take_error() {
  Errc e = error_;
  error_ = Errc::ok;
  ready_ &= ~uint32_t{abi::kErrorPending};
  if (Attachment* h = home(); e == Errc::ok && h != nullptr)
    e = static_cast<Errc>(atomic_exchange(h->shared().error, uint32_t{0}) & 0xff);
  state_changed_ = true;
  mark();
  return e;
}

Socket::Copied Socket::copied() const {
  if (home_ < 0) return {0, 0, referenced_out_ + passed_.referred, 0, 0};
  const Attachment& a = attachments_[static_cast<size_t>(home_)];
  const abi::SocketShared& s = a.shared();
  const Passed by_passage = passed();
  return {load_relaxed(s.copied_out), load_relaxed(s.copied_in), referenced_out_ + by_passage.referred, a.swapped_in(by_passage.in),
          a.swapped_pages(by_passage.in)};
}

void Socket::mark() {
  if (!finished_ && !ListNode<RunTag>::linked()) ctx_.run.push_back(*this);
}

void Socket::run() {
  if (finished_) return;
  ++runs_;
  if (!is_claimed()) {
    if (home() != nullptr) push_input(*home());
    return publish();
  }
  if (Attachment* h = home(); h != nullptr) {
    if (uint32_t wants = load_relaxed(h->shared().wants) & (abi::kWantClose | abi::kWantGiveBack); wants != 0)
      look_whether_closed(*h, wants);
  }
  if (passage_ != nullptr && !run_passage()) {
    sync_input();
    if (home() != nullptr) push_input(*home());
    report_consumed();
    return publish();
  }
  if (move_ != MoveKind::none) try_move();
  if (Attachment* h = home(); h != nullptr && !kernel_mode_ && move_ == MoveKind::none) {
    // A client that writes as fast as this reads gets the next turn for the rest.
    bool more = take_output(*h);
    feed();
    if (more && backlog_.empty() && !ListNode<RunTag>::linked()) ctx_.run_next.push_back(*this);
  } else {
    feed();
  }
  if (kernel_mode_ || gone_) read_pair();
  if (gone_) {
    try_close();
  } else if (kernel_mode_) {
    write_pair();
  } else if (Attachment* h = home(); h != nullptr && move_ == MoveKind::none) {
    sync_input();
    if (home() != nullptr) push_input(*home());
  }
  report_consumed();
  if (closed_ && id_dead_) return finish();
  offer_space();
  if (listener_ && !gone_) run_offers();
  if (attachments_.size() > 1) free_left_slots();
  publish();
  if (runs_ >= passage_at_ || passage_ != nullptr) consider_passage();
}

void Socket::on_poll(uint32_t events) {
  if ((events & EPOLLIN) != 0) pair_readable_ = true;
  if ((events & EPOLLOUT) != 0) pair_writable_ = true;
  if ((events & EPOLLHUP) != 0) {
    if (go_back()) return;
    on_gone();
  } else if ((events & EPOLLIN) != 0 && !kernel_mode_ && filling_ == 0 && (events & EPOLLRDHUP) == 0 && !listener_ && is_claimed()) {
    // Somebody wrote to K behind libferry's back (stdio, io_uring, another process): those bytes come after what is in the ring.
    if (Attachment* h = home(); h != nullptr && move_ == MoveKind::none) {
      port::log(port::LogLevel::info, "socket of pid %d goes to kernel mode: bytes found on its descriptor",
                static_cast<int>(h->channel->identity().pid));
      move_ = MoveKind::demote;
      move_channel_ = nullptr;
      expect_locks(ctx_.now + kPatience);
    } else if (home() == nullptr) {
      enter_kernel_mode();
    }
  }
  mark();
}

void Socket::fail(Errc error) {
  error_ = error;
  ready_ |= abi::kErrorPending;
}

void Socket::on_events(uint32_t events) {
  using tcp::Event;
  auto has = [events](Event e) { return (events & static_cast<uint32_t>(e)) != 0; };
  if (has(Event::established)) {
    ready_ = (ready_ & ~uint32_t{abi::kConnecting}) | abi::kConnected | abi::kWritable;
    if (auto info = ctx_.protocols.info(id_)) {
      local_ = info->local;
      remote_ = info->remote;
    }
  }
  if (has(Event::peer_closed)) ready_ |= abi::kReadClosed;
  if (many_ && has(Event::failed) && !has(Event::closed)) {  // one of its connections: the one that its client waits for
    if (auto info = ctx_.protocols.info(id_)) fail(info->error);
    ready_ &= ~uint32_t{abi::kConnecting};
    state_changed_ = event_ = true;
    return mark();
  }
  if (has(Event::failed)) {
    auto info = ctx_.protocols.info(id_);
    fail(info && info->error != Errc::ok ? info->error : Errc::reset);
  }
  if (has(Event::failed) || has(Event::closed)) {
    ready_ |= abi::kReadClosed | abi::kWriteClosed | abi::kHangUp;
    ready_ &= ~uint32_t{abi::kConnecting | abi::kWritable};
    if (has(Event::closed)) closed_ = true;
    // A child that dies in its listener's queue has nobody who would close it. One that came back from an offer is out of that queue.
    if (has(Event::closed) && !accepted_ && arrival_ == 0) id_dead_ = true;
  }
  state_changed_ = event_ = true;
  mark();
}

}  // namespace ferry::server

// Moving a socket: to another process's channel (re-homing) or to kernel mode (demotion). docs/architecture.md, "A socket has one
// home" and "Revocation in short".
//
//   start_move: revoke tx_lock, rx_lock --free?--> leave_home: take what is in the output ring, take back what was not read
//                        | held                          --> enter_home / enter_kernel_mode --> give_up_slot --> the requester is told
//                        +--> wait for the doorbell of the holder's unlock, its process's death, or kPatience
//
// Past kPatience the server takes the rings anyway: it never trusted them. A stream is reset then, for nobody knows what the holder has half
// read or written, and it would go on with that.
#include "ipc/lock.h"
#include "port/api/log.h"
#include "server/client.h"
#include "server/peers.h"
#include "server/sockets.h"

namespace ferry::server {
namespace abi = ipc::abi;
namespace {
constexpr uint8_t kMovesPerSecond = 4;  // more: two processes take the socket from each other
}  // namespace

Status Socket::start_move(MoveKind kind, Channel& channel) {
  if (listener_) return Errc::not_supported;
  if (move_ != MoveKind::none || gone_) return Errc::already;
  if (kernel_mode_) {  // already where everybody can use it
    channel.client()->on_move_done(*this, Errc::ok);
    return {};
  }
  if (kind == MoveKind::rehome && home() != nullptr && home()->channel == &channel) {
    channel.client()->on_move_done(*this, Errc::ok);
    return {};
  }
  // Datagram sockets keep moving: kernel mode has no addresses for them, and who shares one (fork per datagram) takes turns.
  if (kind == MoveKind::rehome && is_stream() && moved_too_often()) {
    port::log(port::LogLevel::info, "socket goes to kernel mode: several processes use it at once");
    kind = MoveKind::demote;
  }
  move_ = kind;
  move_channel_ = &channel;
  expect_locks(ctx_.now + kPatience);
  try_move();
  return {};
}

bool Socket::moved_too_often() {
  if (ctx_.now - moves_since_ > Duration::seconds(1)) {
    moves_since_ = ctx_.now;
    recent_moves_ = 0;
  }
  return ++recent_moves_ > kMovesPerSecond;
}

bool Socket::locks_free(Attachment& a) {
  abi::SocketShared& s = a.shared();
  bool tx_free = ipc::revoke(s.tx_lock);
  bool rx_free = ipc::revoke(s.rx_lock);
  return tx_free && rx_free;
}

void Socket::expect_locks(Instant deadline) {
  move_deadline_ = deadline;
  if (!ListNode<MoveTag>::linked()) ctx_.moving.push_back(*this);
}

// Unless there is something else that waits for them.
void Socket::expect_no_locks() {
  const bool waits = move_ != MoveKind::none || (passage_ != nullptr && passage_->state != Passage::State::open);
  if (!waits && ListNode<MoveTag>::linked()) ctx_.moving.erase(*this);
}

void Socket::try_move() {
  if (!leave_passage()) return;
  const int old = home_;
  bool forced = false;
  if (Attachment* h = home(); h != nullptr) {
    if (!locks_free(*h)) {
      if (ctx_.now < move_deadline_) return;
      forced = true;
      ++ctx_.counters.forced_moves;
      port::log(port::LogLevel::warning, "pid %d does not let go of a socket: it is taken away",
                static_cast<int>(h->channel->identity().pid));
    }
    take_output(*h, true);
    leave_home(*h);
  }
  Errc outcome = Errc::ok;
  const bool demoted = move_ == MoveKind::demote;
  if (demoted) {
    enter_kernel_mode();
  } else {
    ++ctx_.counters.moves;
    if (!enter_home(*move_channel_)) outcome = Errc::too_many;
  }
  if (old >= 0) give_up_slot(attachments_[static_cast<size_t>(old)], demoted ? abi::kModeKernel : abi::kModeMoved);
  if (forced && type_ == stack::SocketType::tcp) break_connection("a process stands still in the middle of a call");
  end_move(outcome);
}

void Socket::end_move(Errc outcome) {
  move_ = MoveKind::none;
  expect_no_locks();
  Channel* requester = move_channel_;
  move_channel_ = nullptr;
  if (requester != nullptr && requester->client_alive()) requester->client()->on_move_done(*this, outcome);
  mark();
}

void Socket::cancel_move(const Channel& channel) {
  if (move_ == MoveKind::none || move_channel_ != &channel) return;
  if (move_ == MoveKind::demote) {  // goes on, for whoever else has K
    move_channel_ = nullptr;
    return;
  }
  if (Attachment* h = home()) give_back_locks(h->shared());
  end_move(Errc::bad_socket);
}

// The client of `a` uses the rings no more (locks revoked, or dead). What it has not read stays in rx_, from the first unread byte.
void Socket::leave_home(Attachment& a) {
  sync_input();
  const uint64_t read = std::max(a.rx_reported, a.rx_void);
  uint64_t partial = read > a.rx_released_bytes ? read - a.rx_released_bytes : 0;
  if (is_stream()) {
    while (partial > 0 && !rx_.empty()) {
      buf::IoDesc& d = rx_.front();
      auto n = static_cast<uint32_t>(partial < d.length ? partial : d.length);
      release_input(d.prefix(n));
      d = d.without_prefix(n);
      rx_bytes_ -= n;
      partial -= n;
      if (!d.empty()) break;
      rx_.pop_front();
      ++a.rx_released;
    }
  }
  read_before_ += read;
  // The entries behind are taken back: the ring ends where the client stopped.
  store_release(a.shared().rx_produced, a.rx_released);
  a.rx_produced = a.rx_released;
  a.left = true;
  home_ = -1;
}

// Tells the client of a home that was left where the socket is now. What it has not read must be there already: a socket with
// unread input never looks empty, not for a moment.
void Socket::give_up_slot(Attachment& a, uint32_t mode) {
  abi::SocketShared& s = a.shared();
  store_release(s.mode, mode);
  ipc::end_revocation(s.tx_lock, false);
  ipc::end_revocation(s.rx_lock, false);
  if (a.channel->client_alive()) a.channel->signal(a.slot);
}

// A slot that was home before is not used again: its rings have a past, and output may still be counted there.
bool Socket::enter_home(Channel& channel) {
  size_t i = attachments_.size();
  while (i-- > 0 && (attachments_[i].channel != &channel || attachments_[i].used)) {
  }
  if (i == SIZE_MAX) {
    uint32_t slot = channel.assign(*this);
    if (slot == Channel::kNoSlot) return false;
    i = attachments_.size();
    attachments_.emplace_back();
    attachments_[i].channel = &channel;
    attachments_[i].slot = slot;
  }
  attachments_[i].used = true;
  attachments_[i].rx_begin = read_before_;
  home_ = static_cast<int>(i);
  state_changed_ = event_ = true;
  push_input(attachments_[i]);
  publish_to(attachments_[i]);
  mark();
  return true;
}

// Frees slots that their clients have left for a newer one, once no output is counted there.
void Socket::free_left_slots() {
  for (size_t i = attachments_.size(); i-- > 0;) {
    const Attachment& a = attachments_[i];
    if (home_ == static_cast<int>(i) || !a.used || slot_in(*a.channel) == a.slot) continue;
    bool referred = has_lent_input(a);
    for (uint32_t k = 0; k < spans_.size() && !referred; ++k)
      referred = spans_[k].channel == a.channel && spans_[k].slot == a.slot;
    if (!referred) detach(i);
  }
}

void Socket::enter_kernel_mode() {
  if (kernel_mode_) return;
  ++ctx_.counters.demotions;
  kernel_mode_ = true;
  home_ = -1;
  pair_readable_ = pair_writable_ = true;
  watch_pair();
  bound_window();
  write_pair();
  state_changed_ = event_ = true;
  mark();
}

// Received data waits in the server's own memory from now on: no larger a window is announced than a socket may have of it.
void Socket::bound_window() {
  if (!is_stream() || id_ == 0 || id_dead_) return;
  stack::Call call;
  call.op = stack::CallOp::set_option;
  call.socket = id_;
  call.option = stack::Option::receive_buffer;
  call.number = ctx_.limits.staged_per_socket;
  ctx_.protocols.call(call);
}

}  // namespace ferry::server

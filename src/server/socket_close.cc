// The end of a socket: its descriptor K is closed or given back, its client dies, what the program still wrote goes to the stack.
#include <sys/epoll.h>

#include "ipc/lock.h"
#include "server/socket.h"
#include "server/sockets.h"

namespace ferry::server {
namespace abi = ipc::abi;

void Socket::look_for_hang_up() {
  if (!pair_ || finished_ || (ready_ & (abi::kConnected | abi::kConnecting)) != 0) return;
  if (!gone_ && !pair_->hung_up()) return;
  on_poll(EPOLLHUP);
  run();
}

// A listener that a process says it has closed. At once: who connects may have a slot in front of it.
void Socket::look_for_close() {
  uint32_t wants = 0;
  for (Attachment& a : attachments_)
    if ((load_relaxed(a.shared().wants) & abi::kWantClose) != 0) wants |= atomic_and(a.shared().wants, ~uint32_t{abi::kWantClose});
  if ((wants & abi::kWantClose) != 0) look_for_hang_up();
}

// The home's process has closed its copy of K, or gives back the only one. The poller would tell later of a close.
void Socket::look_whether_closed(Attachment& a, uint32_t wants) {
  atomic_and(a.shared().wants, ~wants);
  if (gone_ || !pair_) return;
  if ((wants & abi::kWantGiveBack) != 0 && can_give_back(a)) {
    on_gone();
    give_pair_back();
  } else if (pair_->hung_up()) {
    on_gone();
  }
}

void Socket::give_pair_back() {
  ctx_.sockets->forget_cookie(pair_->cookie());
  Stock& stock = *pair_->stock();
  stock.give_back(std::move(pair_));
}

// As far as the server can see, K is as it was when it was handed out, and nobody else uses it.
bool Socket::can_give_back(const Attachment& a) const {
  return pair_->stock() == &a.channel->stock() && attachments_.size() == 1 && !kernel_mode_ && move_ == MoveKind::none &&
         !signals_owner_ && !pair_readable_;
}

void Socket::on_gone() {
  if (gone_) return;
  gone_ = true;
  close_parts();  // they are known by the cookie of K, and the pair may be another's soon
  if (spare_) come_to_use();
  leave_passage();
  if (move_ != MoveKind::none) end_move(Errc::bad_socket);
  // What is in the ring was written before K was closed.
  if (Attachment* h = home(); h != nullptr && !kernel_mode_) {
    take_output(*h, true);
    sync_input();
  }
  pair_readable_ = true;
  mark();
}

// Hands over to the stack once nothing of the program's output is left here.
void Socket::try_close() {
  if (id_dead_) return;
  bool unread = rx_bytes_ > 0;
  if (!unread && counts_input() && !output_dead() && (!backlog_.empty() || !pair_ended_)) {
    bool can_still_send = many_ || (ready_ & (abi::kConnected | abi::kConnecting)) != 0;
    if (can_still_send) return;
  }
  report_consumed();
  drop_output();
  drop_input();
  drop_offers();
  id_dead_ = true;
  close_parts();
  if (part_of_ != 0) ctx_.sockets->forget_cookie(part_of_);
  drop_pair();
  if (id_ == 0) {
    closed_ = true;
    return;
  }
  stack::Call call;
  call.op = stack::CallOp::close;
  call.socket = id_;
  if (ctx_.protocols.call(call).error == Errc::bad_socket) closed_ = true;
}

void Socket::finish() {
  if (finished_) return;
  finished_ = true;
  close_parts();
  drop_offers();
  stray_no_more();
  claim_.reset();
  drop_output();
  if (in_stack_ > 0) on_completed(static_cast<uint32_t>(in_stack_));
  complete(span_bytes_);
  drop_input();
  while (!attachments_.empty()) {
    Attachment a = attachments_.back();
    detach(attachments_.size() - 1);
    if (a.channel->client_alive()) a.channel->signal(a.slot);
  }
  drop_pair();
  ctx_.sockets->finish(*this);
}

void Socket::on_client_gone(Channel& channel) {
  cancel_move(channel);
  forget_taker(channel);
  if (go_back()) return;
  for (size_t i = attachments_.size(); i-- > 0;) {
    if (attachments_[i].channel != &channel) continue;
    if (home_ == static_cast<int>(i) && !kernel_mode_) {
      on_home_gone();
      Attachment& a = attachments_[i];
      ipc::reset_lock(a.shared().tx_lock);
      ipc::reset_lock(a.shared().rx_lock);
      take_output(a, true);
      leave_home(a);
      give_up_slot(a, abi::kModeMoved);
    }
    detach(i);
  }
  mark();
  // Without a pair no hang-up will come.
  if (!pair_ && accepted_ && !is_part()) on_gone();
}

}  // namespace ferry::server

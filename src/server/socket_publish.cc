// What a socket's clients see of it: the words of abi::SocketShared, and being woken for a change.
#include <sys/socket.h>

#include "server/peers.h"
#include "server/socket.h"

namespace ferry::server {
namespace abi = ipc::abi;

// The end of input is not announced before everything in front of it is in the ring. (With a loopback, data and FIN may arrive
// in the middle of run(), after push_input().)
bool Socket::hides_end(const Attachment& a) const {
  return !kernel_mode_ && !many_ && home_ >= 0 && &attachments_[static_cast<size_t>(home_)] == &a && rx_.size() > a.in_ring();
}

uint32_t Socket::visible_ready(const Attachment& a) const {
  if (listener_) return can_be_asked(*a.channel) ? ready_ | abi::kAcceptable : ready_;
  return hides_end(a) ? ready_ & ~uint32_t{abi::kReadClosed | abi::kHangUp} : ready_;
}

void Socket::publish_to(Attachment& a) {
  abi::SocketShared& s = a.shared();
  uint32_t mode = kernel_mode_ ? abi::kModeKernel : listener_ || home() == &a ? abi::kModeShared : abi::kModeMoved;
  // A home that came after the one in the passage had died has no part in it.
  if (home() == &a && in_passage() && passage_->ends[passage_->side_of(*this)].home == a.channel) {
    mode = abi::kModePassing;
    publish_passage(s);
  }
  store_relaxed(s.kind, kind());
  store_relaxed(s.send_buffer, is_held_back() ? 0 : send_buffer_);
  store_relaxed(s.receive_buffer, receive_buffer_);
  store_relaxed(s.accept_count, accept_count_);
  __builtin_memcpy(s.local_address, local_.address.octets.data(), 16);
  __builtin_memcpy(s.remote_address, remote_.address.octets.data(), 16);
  s.local_port = local_.port;
  s.remote_port = remote_.port;
  if (hides_end(a)) state_changed_ = true;  // the rest of it later
  if (error_ != Errc::ok && (home() == &a || kernel_mode_ || listener_) && !hides_end(a)) {
    store_relaxed(s.error, static_cast<uint32_t>(error_));
    error_ = Errc::ok;
  }
  store_release(s.ready, visible_ready(a));
  store_release(s.mode, mode);
}

// SIGURG goes to the owner of K (F_SETOWN), whom only the kernel may signal without privileges: an out-of-band byte on the pair
// makes it do so (unix(7)). Nobody reads that byte; a reader of K in kernel mode later skips it.
void Socket::on_urgent(uint64_t mark) {
  urgent_mark_ = mark;
  ready_ |= abi::kUrgentPending;
  if (signals_owner_ && !kernel_mode_ && pair_) send(pair_->fd(), "!", 1, MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL);
}

// The words only; whoever waits for them is told by publish().
void Socket::publish_words() {
  state_changed_ = false;
  if (auto info = ctx_.protocols.info(id_); id_ != 0 && !id_dead_ && info) {
    if (info->send_buffer != 0) send_buffer_ = info->send_buffer;
    if (info->receive_buffer != 0) receive_buffer_ = info->receive_buffer;
    if (listener_) accept_count_ = info->receive_queue;
    if (info->urgent_mark != urgent_mark_) on_urgent(info->urgent_mark);
    for (Attachment& a : attachments_) {
      abi::SocketShared& s = a.shared();
      store_relaxed(s.tcp_state, uint32_t{info->tcp_state});
      store_relaxed(s.mss, uint32_t{info->mss});
      store_relaxed(s.urgent_mark, info->urgent_mark > a.rx_begin ? info->urgent_mark - a.rx_begin : 0);
      store_relaxed(s.urgent_byte, info->urgent_byte);
    }
  }
  for (Attachment& a : attachments_) publish_to(a);
}

void Socket::publish() {
  if ((runs_ & 31) == 0) state_changed_ = true;  // buffer sizes grow with the traffic
  if (state_changed_) publish_words();
  if (!event_) return;
  event_ = false;
  for (Attachment& a : attachments_)
    if (a.channel->client_alive() && (listener_ || kernel_mode_ || home() == &a || home_ < 0)) a.channel->signal(a.slot);
}

}  // namespace ferry::server

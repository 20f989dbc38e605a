// Kernel mode (tier 2, and the `copy` scheme): bytes between the descriptor pair and the stack, by way of staging memory. Whoever
// holds K uses it as an ordinary descriptor; sharing, blocking and readiness are the kernel's business.
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "server/sockets.h"

namespace ferry::server {
namespace abi = ipc::abi;
namespace {
constexpr uint32_t kReadPiece = 64 * 1024;
constexpr int kPiecesPerTurn = 8;
constexpr uint32_t kMaxFilling = 4u << 20;
}  // namespace

void Socket::watch_pair() {
  if (pair_) pair_->watch(EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

// `k` is still ours: bytes are queued on it so that it does not look writable before the connection is.
void Socket::start_in_kernel_mode(int k) {
  enter_kernel_mode();
  if (!is_stream() || connected()) return;
  std::vector<std::byte> filler(kReadPiece);
  pollfd p{k, POLLOUT, 0};
  while (filling_ < kMaxFilling && poll(&p, 1, 0) > 0) {
    ssize_t n = send(k, filler.data(), filler.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n <= 0) break;
    filling_ += static_cast<uint32_t>(n);
  }
}

void Socket::drain_filling() {
  std::vector<std::byte> waste(kReadPiece);
  while (filling_ > 0) {
    ssize_t n = recv(pair_->fd(), waste.data(), filling_ < waste.size() ? filling_ : waste.size(), MSG_DONTWAIT);
    if (n <= 0) {
      filling_ = 0;
      break;
    }
    filling_ -= static_cast<uint32_t>(n);
  }
}

// From the pair to the stack; in order after everything that came through a ring.
void Socket::read_pair() {
  if (!pair_) {
    pair_ended_ = true;
    return;
  }
  if (filling_ > 0) {
    if (!gone_ && !connected() && !output_dead()) return;
    drain_filling();
    pair_readable_ = true;
  }
  if (output_dead() && !pair_ended_) {
    shutdown(pair_->fd(), SHUT_RD);  // whoever writes to K is told
    pair_ended_ = true;
  }
  for (int budget = kPiecesPerTurn; pair_readable_ && !pair_ended_ && backlog_.empty(); --budget) {
    if (budget == 0) {
      if (!ListNode<RunTag>::linked()) ctx_.run_next.push_back(*this);
      return;
    }
    if (!(is_stream() ? read_stream() : read_datagram())) return;
  }
}

bool Socket::read_stream() {
  uint32_t space = ctx_.protocols.send_space(id_);
  // Completions come back here: while our own output fills the bound, there are some to come.
  if (space == 0 || staged_out_ + kReadPiece > ctx_.limits.staged_per_socket) return false;
  auto d = stage(space < kReadPiece ? space : kReadPiece, staged_out_);
  if (!d) {
    if (!ListNode<StarvedTag>::linked()) ctx_.starved.push_back(*this);
    return false;
  }
  MutableByteSpan room = ctx_.memory.write(*d);
  ssize_t n = recv(pair_->fd(), room.data(), room.size(), MSG_DONTWAIT);
  uint32_t got = n > 0 ? static_cast<uint32_t>(n) : 0;
  if (got < d->length) unstage(d->without_prefix(got), staged_out_);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
    pair_readable_ = errno == EINTR;
    return false;
  }
  stack::Call call;
  call.socket = id_;
  if (got == 0) {  // shutdown or close of K; an error (a reset by a K closed with unread bytes) counts as its end
    pair_ended_ = true;
    if (gone_) return true;
    call.op = stack::CallOp::shutdown;
    call.number = 2;
    ctx_.protocols.call(call);
    ready_ |= abi::kWriteClosed;
    state_changed_ = true;
    return true;
  }
  ctx_.counters.kernel_mode_out += got;
  spans_.push_back({nullptr, 0, got, d->offset});
  span_bytes_ += got;
  call.op = stack::CallOp::send;
  call.data = d->prefix(got);
  in_stack_ += got;
  if (ctx_.protocols.call(call).error == Errc::ok) return true;
  in_stack_ -= got;
  ready_ |= abi::kWriteClosed;
  state_changed_ = true;
  drop_output();
  return true;
}

bool Socket::read_datagram() {
  auto d = stage(kReadPiece, staged_out_);
  if (!d) {
    if (!ListNode<StarvedTag>::linked()) ctx_.starved.push_back(*this);
    return false;
  }
  MutableByteSpan room = ctx_.memory.write(*d);
  ssize_t n = recv(pair_->fd(), room.data(), room.size(), MSG_DONTWAIT);
  if (n < 0) {
    pair_readable_ = false;
    if (errno != EAGAIN && errno != EINTR) pair_ended_ = true;
  } else if (n == 0 && gone_) {
    pair_ended_ = true;  // a zero-length datagram looks the same, but its sender is gone too
  } else {
    ctx_.counters.kernel_mode_out += static_cast<uint64_t>(n);
    stack::Call call;
    const stack::MessageInfo plain;
    call.op = style_ == stack::Style::message ? stack::CallOp::send_message : stack::CallOp::send_datagram;
    call.socket = id_;
    call.data = d->prefix(static_cast<uint32_t>(n));
    call.message = &plain;
    ctx_.protocols.call(call);
  }
  unstage(*d, staged_out_);
  return pair_readable_ && !pair_ended_;
}

// From the stack to the pair.
void Socket::write_pair() {
  if (!pair_) return;
  bool stream = is_stream();
  while (!rx_.empty()) {
    buf::IoDesc& d = rx_.front();
    uint32_t skip = stream ? 0 : static_cast<uint32_t>(sizeof(abi::DatagramHeader));
    ByteSpan bytes = ctx_.memory.read(d).subspan(skip);
    ssize_t n = send(pair_->fd(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS)) {
      pair_writable_ = false;
      return;
    }
    // Nobody reads any more (shutdown(K, SHUT_RD), or closed): what is left counts as read, as Linux does after SHUT_RD.
    uint32_t done = n < 0 ? d.length : static_cast<uint32_t>(n) + skip;
    if (n > 0) ctx_.counters.kernel_mode_in += static_cast<uint64_t>(n);
    if (counts_input()) credit_ += done;
    release_input(d.prefix(done));
    rx_bytes_ -= done;
    d = d.without_prefix(done);
    if (d.empty()) rx_.pop_front();
  }
  if ((ready_ & abi::kReadClosed) != 0 && !pair_shut_ && stream) {
    pair_shut_ = true;
    shutdown(pair_->fd(), SHUT_WR);
  }
}

}  // namespace ferry::server

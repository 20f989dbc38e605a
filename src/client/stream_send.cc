// Sending on a stream: one copy into the output pool, a descriptor per piece, the doorbell; the order of checks is that of
// Linux's tcp_sendmsg (tcp(7), send(2)).
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/atomics.h"
#include "client/deadline.h"
#include "client/iov_cursor.h"
#include "client/regions.h"
#include "client/passage.h"
#include "client/ring_lock.h"
#include "client/socket.h"
#include "ipc/lock.h"

namespace ferry::client {

namespace abi = ipc::abi;

namespace {
constexpr uint32_t kChunk = 64 * 1024;    // bytes published at a time: the server works on one while the next is copied
constexpr uint64_t kLeast = 4096;         // room that is worth a descriptor when more is to be sent, bytes

// Whether a piece of `room` bytes is worth a descriptor: not a scrap in front of more, unless nothing else would bring more room.
bool is_worth(uint64_t room, const Home& h, const IovCursor& data) {
  return room > 0 && (room >= std::min<uint64_t>(data.left(), kLeast) || h.output.outstanding() == 0);
}

// Whether a piece of the program's list is in a region, and not too small to be referred to there.
bool is_referable(const void* piece, size_t length) { return regions::contains(piece) && length >= ipc::control::kLeastReference; }
}  // namespace

// Bytes of output that may be outstanding and are not.
uint64_t Socket::output_window(Home& h) const {
  const uint64_t outstanding = h.output.committed() - load_acquire(h.shared->tx_completed);
  const uint64_t limit = load_relaxed(h.shared->send_buffer);
  return limit > outstanding ? limit - outstanding : 0;
}

// Bytes of output that may be copied now; 0 while so little is free that it is not worth a piece.
uint64_t Socket::output_space(Home& h) const {
  const uint64_t outstanding = h.output.committed() - load_acquire(h.shared->tx_completed);
  const uint64_t referred = std::min(h.output.referred(), outstanding);
  const uint64_t limit = h.channel->output_limit() + referred;
  return std::min(output_window(h), limit > outstanding ? limit - outstanding : 0);
}

// Whether data can be sent: 0; kWait for a connection being made; -EPIPE, or the pending error, which is the next call's if this one has
// `sent` something.
int Socket::stream_send_state(Home& h, bool sent) {
  abi::SocketShared& s = *h.shared;
  const uint32_t ready = h.ready();
  if (__builtin_expect(load_relaxed(s.error) != 0 || h.write_shut || (ready & abi::kWriteClosed) != 0, 0)) {
    const int error = sent ? 0 : take_error_of(h);
    return error != 0 ? -error : -EPIPE;
  }
  if (__builtin_expect((ready & abi::kConnected) != 0, 1)) return 0;
  return (ready & abi::kConnecting) != 0 ? kWait : -EPIPE;
}

// The next bytes of the program's as a descriptor that refers to them, at most `window`. Length 0: they have to be copied.
abi::Descriptor Socket::refer_piece(Home& h, IovCursor& data, uint64_t window) {
  const auto piece = data.piece();
  if (!is_worth(window, h, data)) return {};
  const regions::Reference r = regions::refer(*h.channel, h.engine, piece.data(), piece.size(), std::min<uint64_t>(piece.size(), window));
  if (r.length == 0) return {};
  if (!h.output.refer(r.length, r.token)) {
    regions::unrefer(r.token);
    return {};
  }
  data.skip(r.length);
  store_relaxed(h.referenced_out, h.referenced_out + r.length);
  return {r.offset, r.length, r.region, 0};
}

// The next bytes as a descriptor of a copy in the output pool, at most `space`. Length 0: no memory, or `fault`.
abi::Descriptor Socket::copy_piece(Home& h, IovCursor& data, uint64_t space, bool& fault) {
  if (!is_worth(space, h, data)) return {};
  auto run = h.output.reserve(*h.channel, 1, static_cast<uint32_t>(std::min({uint64_t{data.left()}, space, uint64_t{kChunk}})));
  if (!run) return {};
  auto copied = static_cast<uint32_t>(data.copy_out(h.channel->map().bytes(run->offset, run->length).data(), run->length));
  fault = copied < run->length;
  if (fault && !data.is_file()) copied = 0;  // nothing of this piece is sent, as Linux does
  if (copied == 0) return {};
  h.output.commit(copied);
  store_relaxed(h.copied_out, h.copied_out + copied);
  return {run->offset, copied, 0, 0};
}

// Passes on as much as there is room for; returns the bytes. `fault`: what comes next is not there. Under tx_lock.
size_t Socket::put_stream(Home& h, IovCursor& data, int flags, bool& fault) {
  abi::SocketShared& s = *h.shared;
  h.output.complete(*h.channel, load_acquire(s.tx_completed));
  uint64_t window = output_window(h), space = output_space(h);
  uint32_t entries = h.tx.space(s.tx_taken);
  size_t put = 0;
  while (data.left() > 0 && entries > 0 && !fault) {
    const auto piece = data.piece();
    const bool referable = is_referable(piece.data(), data.piece_length());
    abi::Descriptor d = referable ? refer_piece(h, data, window) : abi::Descriptor{};
    if (d.length == 0) {
      d = copy_piece(h, data, space, fault);
      space -= d.length;
      if (referable) regions::count_copied(piece.data(), std::min<size_t>(piece.size(), d.length));
    }
    if (d.length == 0) break;
    window -= d.length;
    space = std::min(space, window);
    --entries;
    put += d.length;
    const bool last = data.left() == 0;
    const bool follows = !last && !fault && entries > 0 && space >= std::min<uint64_t>(data.left(), kLeast);
    if (follows || (last && (flags & MSG_MORE) != 0)) d.flags |= abi::kMore;
    if (last && (flags & MSG_OOB) != 0) d.flags |= abi::kUrgent;
    h.tx.push(s.tx, s.tx_produced, d);
    if (follows) h.channel->ring(h.engine, h.slot);
  }
  store_relaxed(s.copied_out, h.copied_out);
  return put;
}

// What output that is complete referred to is the program's own again before it can write to it.
void Socket::regain_output(Home& h) {
  if (!regions::may_regain()) return;
  const uint64_t completed = load_acquire(h.shared->tx_completed);
  if (h.output.referred() != 0 && completed != h.output.completed() && ipc::try_lock(h.shared->tx_lock)) {
    h.output.complete(*h.channel, completed);
    if (ipc::unlock(h.shared->tx_lock)) h.channel->ring(h.engine, h.slot);
  }
  regions::regain(*h.channel);
}

// The server has to have a region before output refers to it.
void Socket::announce_regions(int k, std::span<const iovec> list) {
  for (const iovec& v : list) {
    if (!is_referable(v.iov_base, v.iov_len)) continue;
    Home* h = nullptr;
    if (kernel_mode_ || home(k, h) != 0) return;
    regions::announce(*h->channel, h->engine, v.iov_base);
  }
}

// An empty send only tells of errors.
long Socket::send_nothing(int k) {
  Home* h = nullptr;
  const int entered = enter(k, h);
  if (entered != 0) return entered == kKernelMode ? 0 : entered;
  const int state = stream_send_state(*h, false);
  return state == kWait ? 0 : state;
}

long Socket::send_stream(int k, const SendRequest& request) {
  if ((request.flags & MSG_FASTOPEN) != 0) return -EOPNOTSUPP;
  IovCursor data(request.data, request.file);
  if (data.left() == 0) return send_nothing(k);
  announce_regions(k, request.data);
  const bool nonblocking = request.nonblocking || (request.flags & MSG_DONTWAIT) != 0;
  Deadline deadline(send_timeout_ns_);
  long sent = 0;
  for (Wish wish;;) {
    Home* h = nullptr;
    RingLock lock;
    const int entered = enter(k, Side::tx, h, lock);
    if (entered == kKernelMode) {
      if (data.is_file()) return sent;
      const long r = send_kernel(k, data, request);
      return r < 0 && sent > 0 ? sent : sent + r;
    }
    if (entered < 0) return sent > 0 ? sent : entered;

    const Seen seen = look(*h);
    const int state = stream_send_state(*h, sent > 0);
    if (state < 0) return sent > 0 ? sent : state;
    Passage* passage = nullptr;
    bool starved = false;  // the pool is empty, and not by our doing
    if (state == 0) {
      bool fault = false;
      passage = passage_of(*h);
      if (passage != nullptr && !sends_by_passage(*h, request.flags)) passage = nullptr;
      const size_t put = passage != nullptr ? put_passage(*h, *passage, data, fault) : put_stream(*h, data, request.flags, fault);
      sent += static_cast<long>(put);
      starved = passage == nullptr && h->output.outstanding() == 0 && load_relaxed(h->shared->send_buffer) != 0;
      lock.release();
      if (put > 0) {
        if (passage == nullptr) h->channel->ring(h->engine, h->slot);
        regions::regain(*h->channel);
        wish.asked = nullptr;
      }
      if (data.left() == 0) return sent;
      if (fault) return sent > 0 || data.is_file() ? sent : -EFAULT;
    }
    lock.release();
    if (wish.make(*h, seen, passage != nullptr ? passage->mine.wants : h->shared->wants)) continue;  // look once more
    if (nonblocking) return sent > 0 ? sent : starved ? -ENOBUFS : -EAGAIN;
    wish.asked = nullptr;
    const int waited = starved ? wait_a_little(*h, wish.before) : wait_for_event(*h, wish.before, deadline);
    if (waited != 0) return sent > 0 ? sent : waited;
  }
}

}  // namespace ferry::client

// Receiving from a stream: one copy out of the input pool, or none (stream_pages.cc); the order of checks is that of Linux's tcp_recvmsg (tcp(7),
// recv(2)).
//
// The urgent byte is part of the delivered stream, at urgent_mark - 1. Without SO_OOBINLINE reading steps over it, and MSG_OOB
// reads it apart; either way a read stops in front of it once.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/atomics.h"
#include "client/deadline.h"
#include "client/passage.h"
#include "client/receiving.h"
#include "client/ring_lock.h"
#include "client/socket.h"

namespace ferry::client {

namespace abi = ipc::abi;

namespace {

// Position of the urgent byte if it has not been passed; ~0: none ahead.
uint64_t urgent_position(const Home& h) {
  const uint64_t mark = load_relaxed(h.shared->urgent_mark);
  return mark > h.rx_bytes ? mark - 1 : ~uint64_t{0};
}

}  // namespace

// Why nothing is there, given what `ready` and `error` were before the ring was found empty: kWait if something may come; 0 at
// the end of the stream; an error.
int Socket::stream_receive_state(Home& h, uint32_t ready, uint32_t error) {
  // A reset behind the end of the stream (EPIPE) concerns whoever sends, as in Linux' tcp_recvmsg, which looks at SOCK_DONE first.
  if (error != 0 && error != static_cast<uint32_t>(Errc::broken_pipe)) {
    if (const int e = take_error_of(h); e != 0) return -e;
  }
  if ((ready & (abi::kReadClosed | abi::kHangUp)) != 0) return 0;
  if ((ready & (abi::kConnected | abi::kConnecting)) != 0) return kWait;
  return -ENOTCONN;
}

// Copies what is there, up to what `to` holds; returns the bytes. MSG_PEEK leaves them, MSG_TRUNC throws them away. `fault`: there is
// nothing to copy the next bytes to; they stay.
size_t Socket::take_stream(Home& h, Receiving& r, bool& fault) {
  abi::SocketShared& s = *h.shared;
  auto available = h.rx.available(s.rx_produced);
  const int flags = r.flags;
  IovCursor& to = r.to;
  const uint64_t urgent = urgent_position(h);
  const bool in_line = (local_options() & kOptOobInline) != 0;
  const bool peek = (flags & MSG_PEEK) != 0;
  uint64_t position = h.rx_bytes;
  uint32_t used = h.rx_used;
  size_t taken = 0;
  for (uint32_t ahead = 0; available && ahead < *available && to.left() > 0;) {
    const abi::Descriptor d = h.rx.peek(s.rx, peek ? ahead : 0);
    uint32_t n = 0;
    const std::byte* from = input_bytes(h, d, used, position, n);
    if (from == nullptr) {
      available = Errc::protocol;
      break;
    }
    n = static_cast<uint32_t>(std::min<uint64_t>(n, to.left()));
    bool hole = false;
    if (urgent >= position && urgent - position < n) {
      if (urgent != position) n = static_cast<uint32_t>(urgent - position);
      else if (taken > 0) break;  // stop in front of the mark once
      else if (!in_line) hole = true, n = 1;
    }
    if (!hole) {
      if ((flags & MSG_TRUNC) != 0 || n == 0) {
        to.skip(n);
      } else if (n = take_piece(h, r, from, n, position); n == 0) {
        fault = true;
        break;
      }
      if (d.region != 0 && r.held.length() == 0) r.missed += n;
      taken += n;
    }
    position += n;
    used += n;
    const bool finished = used == d.length;
    if (finished) used = 0;
    if (peek) {
      ahead += finished ? 1 : 0;
      continue;
    }
    store_relaxed(h.rx_bytes, position);
    h.rx_used = used;
    store_release(s.rx_consumed_bytes, position);  // before the entry: the server never sees an entry without its bytes
    if (!finished) continue;
    h.rx.advance(s.rx_consumed);
    --*available;
    if (position >= load_relaxed(s.rx_report_at)) h.channel->ring(h.engine, h.slot);
  }
  if (!available) h.channel->mark_dead();
  return taken;
}

// Takes out of the ring what a peer has sent that is one no more: nothing else comes before the next connect.
void Socket::forget_input(int k) {
  std::byte nowhere;
  const iovec all{&nowhere, IovCursor::kMaxTransfer};  // nothing is copied there
  Receiving r({&all, 1});
  r.flags = MSG_TRUNC;
  Home* h = nullptr;
  RingLock lock;
  if (enter(k, Side::rx, h, lock) != 0) return;
  bool fault = false;
  uint64_t before;
  do {  // a look ends in front of an urgent byte
    before = h->rx_bytes;
    (void)take_stream(*h, r, fault);
  } while (h->rx_bytes != before);
}

long Socket::receive_stream(int k, ReceiveRequest& request) {
  if ((request.flags & MSG_ERRQUEUE) != 0) return -EAGAIN;
  if ((request.flags & MSG_OOB) != 0) return receive_urgent(k, request);
  Receiving r(request.data);
  const long result = receive_pieces(k, request, r);
  if (r.held.length() > 0) settle(*r.holder, r);
  if (__builtin_expect(r.missing == 0, 1)) return result;
  return result > static_cast<long>(r.missing) ? result - static_cast<long>(r.missing) : -EFAULT;
}

long Socket::receive_pieces(int k, ReceiveRequest& request, Receiving& r) {
  const int flags = r.flags = request.flags;
  IovCursor& to = r.to;
  const size_t wanted = r.wanted;
  const size_t low_water = std::min<size_t>(static_cast<size_t>(receive_low_water_), wanted);
  const size_t target = std::max<size_t>((flags & MSG_WAITALL) != 0 ? wanted : low_water, 1);
  const bool nonblocking = request.nonblocking || (flags & MSG_DONTWAIT) != 0;
  r.patient = !nonblocking && target >= abi::kPageSize;
  stock_input(k, r);
  Deadline deadline(receive_timeout_ns_);
  size_t& got = r.got;
  for (bool wanting = false;;) {
    Home* h = nullptr;
    RingLock lock;
    const int entered = enter(k, Side::rx, h, lock);
    if (r.held.length() > 0 && (entered != 0 || h != r.holder) && !settle(*r.holder, r)) return static_cast<long>(got);
    if (entered == kKernelMode) {
      const long received = receive_kernel(k, to, request);
      return received < 0 && got > 0 ? static_cast<long>(got) : static_cast<long>(got) + received;
    }
    if (entered < 0) return got > 0 ? static_cast<long>(got) : entered;

    const Seen seen = look(*h);
    regain_output(*h);
    // Read before the ring is: what was announced then has its data in the ring.
    const uint32_t ready = h->ready();
    const uint32_t error = load_acquire(h->shared->error);
    if ((flags & MSG_PEEK) != 0) {
      to = IovCursor(request.data);
      got = 0;
    }
    // So is the passage: what came before it opened is in the ring, and is read first. It cannot end while we hold the lock.
    Passage* passage = passage_of(*h);
    bool fault = false;
    r.missed = 0;
    const bool may_lend = passage == nullptr && urgent_position(*h) == ~uint64_t{0};
    if (r.patient && r.in_region) lend_input(*h, r, may_lend);  // also for what is there: it is copied all the same, and whole pages come of it
    size_t taken = take_stream(*h, r, fault);
    if (passage != nullptr && to.left() > 0 && !fault && settle(*h, r)) taken += take_passage(*h, *passage, r, fault);
    got += taken;
    const bool at_mark = got > 0 && (flags & MSG_PEEK) == 0 && urgent_position(*h) == h->rx_bytes;
    int state = kWait;
    if (got == 0) state = stream_receive_state(*h, ready, error);
    else if ((ready & (abi::kReadClosed | abi::kHangUp)) != 0 || error != 0) state = 0;
    const auto waiting = h->rx.available(h->shared->rx_produced);
    const bool there = (waiting && *waiting > 0) || (passage != nullptr && passage->unread() > 0);
    if (r.in_region || !h->input.empty()) lend_input(*h, r, may_lend && state == kWait);
    if (r.in_region && (flags & MSG_PEEK) == 0) h->input.learn(taken, r.missed);
    const bool unwanted = wanted == 0 && there;  // a read of nothing looks whether it would have to wait
    const bool report = h->rx_bytes >= load_relaxed(h->shared->rx_report_at) && taken > 0;
    lock.release();
    // Once more behind the fence of the lock: the server may have moved rx_report_at while it was reading our counters.
    if (taken > 0 && (report || load_relaxed(h->rx_bytes) >= load_relaxed(h->shared->rx_report_at))) h->channel->ring(h->engine, h->slot);
    if (fault) return got > 0 ? static_cast<long>(got) : -EFAULT;
    if (unwanted) return 0;
    if (got >= target || at_mark || state == 0) return static_cast<long>(got);
    if (state < 0) return state;
    if (r.unmapped && map_pages(*h, r)) continue;
    if (nonblocking && got > 0) return static_cast<long>(got);
    if (taken > 0) wanting = false;
    if (!wanting) {
      atomic_or(h->shared->wants, uint32_t{abi::kWantRead});
      wanting = true;
      continue;
    }
    if (nonblocking) return -EAGAIN;
    wanting = false;
    const int waited = wait_for_event(*h, seen, deadline);
    if (waited != 0) return got > 0 ? static_cast<long>(got) : waited;
  }
}

long Socket::receive_urgent(int k, ReceiveRequest& request) {
  Home* h = nullptr;
  RingLock lock;
  const int entered = enter(k, Side::rx, h, lock);
  if (entered < 0) return entered;
  if (entered == kKernelMode) return -EINVAL;  // the pair carries no urgent data
  abi::SocketShared& s = *h->shared;
  const uint64_t mark = load_relaxed(s.urgent_mark);
  const uint32_t byte = load_relaxed(s.urgent_byte);
  if ((local_options() & kOptOobInline) != 0 || mark <= h->rx_bytes || h->oob_taken_mark == mark) return -EINVAL;
  if ((byte & 0x100) == 0) return (load_relaxed(s.ready) & abi::kReadClosed) != 0 ? 0 : -EAGAIN;  // announced, not here yet
  request.out_flags |= MSG_OOB;
  if ((request.flags & MSG_PEEK) == 0) h->oob_taken_mark = mark;
  IovCursor to(request.data);
  if (to.left() == 0) {
    request.out_flags |= MSG_TRUNC;
    return 0;
  }
  const std::byte value{static_cast<uint8_t>(byte)};
  if ((request.flags & MSG_TRUNC) == 0 && to.copy_in(&value, 1) == 0) return -EFAULT;
  return 1;
}

}  // namespace ferry::client

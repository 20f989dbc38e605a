// Receiving messages (sctp(7)), of one peer or of many. An entry of the ring is a message or a piece of one; a call gives at
// most one entry, what does not fit comes with the next call, and MSG_EOR marks the end of a message.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/atomics.h"
#include "client/deadline.h"
#include "client/iov_cursor.h"
#include "client/record.h"
#include "client/ring_lock.h"
#include "client/socket.h"

namespace ferry::client {

namespace abi = ipc::abi;

namespace {

constexpr int kMsgNotification = 0x8000;  // MSG_NOTIFICATION of linux/sctp.h

}  // namespace

// Bytes of payload at the head that were not read yet. Under rx_lock.
uint32_t Socket::message_bytes(Home& h) {
  abi::Descriptor d;
  abi::MessageHeader header;
  return head_record(h, d, header) ? header.payload_length - h.rx_used : 0;
}

// Takes from the entry at the head: the bytes, or -EAGAIN. Under rx_lock.
long Socket::take_message(Home& h, ReceiveRequest& request) {
  abi::Descriptor d;
  abi::MessageHeader header;
  if (!head_record(h, d, header)) return -EAGAIN;
  IovCursor to(request.data);
  const uint32_t left = header.payload_length - h.rx_used;
  const auto n = static_cast<uint32_t>(std::min<size_t>(left, to.left()));
  if (to.copy_in(h.channel->map().bytes(d.offset + sizeof header + h.rx_used, n).data(), n) < n) return -EFAULT;
  const bool whole = n == left;
  if (whole && (header.flags & abi::kMessageEnd) != 0) request.out_flags |= MSG_EOR;
  if ((header.flags & abi::kMessageNotification) != 0) request.out_flags |= kMsgNotification;
  request.has_source = true;
  request.source = Address{};
  std::memcpy(request.source.ip, header.remote_address, sizeof request.source.ip);
  request.source.port = header.remote_port;
  if ((local_options() & (kOptMessageInfo | kOptReceiveInfo)) != 0) {
    request.control.type = header.control_type;
    request.control.length = std::min<uint16_t>(header.control_length, sizeof request.control.bytes);
  }
  std::memcpy(request.control.bytes, header.control, sizeof request.control.bytes);
  if ((request.flags & MSG_PEEK) != 0) return n;
  store_relaxed(h.copied_in, h.copied_in + n);
  store_relaxed(h.shared->copied_in, h.copied_in);
  if (!whole) {
    h.rx_used += n;
    return n;
  }
  h.rx_used = 0;
  consume_record(h, d);
  return n;
}

// As stream_receive_state(): a socket with many peers waits for any.
int Socket::message_receive_state(Home& h, uint32_t ready, uint32_t error) {
  if (!has_many_peers()) return stream_receive_state(h, ready, error);
  if (error == 0) return kWait;
  const int e = take_error_of(h);
  return e != 0 ? -e : kWait;
}

long Socket::receive_message(int k, ReceiveRequest& request) {
  if ((request.flags & MSG_OOB) != 0) return -EOPNOTSUPP;
  if ((request.flags & MSG_ERRQUEUE) != 0) return -EAGAIN;
  const bool nonblocking = request.nonblocking || (request.flags & MSG_DONTWAIT) != 0;
  Deadline deadline(receive_timeout_ns_);
  for (bool wanting = false;;) {
    Home* h = nullptr;
    RingLock lock;
    const int entered = enter(k, Side::rx, h, lock);
    if (entered == kKernelMode) {
      IovCursor to(request.data);
      return receive_kernel(k, to, request);
    }
    if (entered == -ENETDOWN && has_many_peers()) return receive_without_server(nonblocking, deadline);
    if (entered < 0) return entered;
    abi::SocketShared& s = *h->shared;
    const Seen seen = look(*h);
    const uint32_t ready = load_acquire(s.ready);
    const uint32_t error = load_acquire(s.error);
    const long taken = take_message(*h, request);
    const int state = taken == -EAGAIN ? message_receive_state(*h, ready, error) : 0;
    lock.release();
    if (taken != -EAGAIN) {
      if (load_relaxed(h->rx_bytes) >= load_relaxed(s.rx_report_at)) h->channel->ring(h->engine, h->slot);
      return taken;
    }
    if (state != kWait) return state;
    if (!wanting) {
      atomic_or(s.wants, uint32_t{abi::kWantRead});
      wanting = true;
      continue;
    }
    if (nonblocking) return -EAGAIN;
    wanting = false;
    const int waited = wait_for_event(*h, seen, deadline);
    if (waited != 0) return waited;
  }
}

}  // namespace ferry::client

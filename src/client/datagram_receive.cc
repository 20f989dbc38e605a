// Receiving datagrams, and the error queue (udp(7), ip(7) IP_RECVERR, recv(2)).
//
// The server puts data and errors into one ring. Errors at its head are set aside here, at most kMaxErrors, so that reading data
// never returns one and MSG_ERRQUEUE finds them.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/atomics.h"
#include "client/deadline.h"
#include "client/errno.h"
#include "client/iov_cursor.h"
#include "client/record.h"
#include "client/ring_lock.h"
#include "client/socket.h"

namespace ferry::client {

namespace abi = ipc::abi;

namespace {

constexpr uint32_t kMaxErrors = 64;

}  // namespace

// Sets aside the errors at the head of the ring. Under rx_lock.
void Socket::collect_errors(Home& h) {
  abi::Descriptor d;
  abi::DatagramHeader header;
  while (head_record(h, d, header) && (header.flags & abi::kDatagramError) != 0) {
    consume_record(h, d);
    if (error_count_ == kMaxErrors) continue;
    auto* node = new ErrorNode;
    node->error.error = to_errno(static_cast<uint32_t>(header.reserved));
    node->error.type = static_cast<uint8_t>(header.reserved >> 32);
    node->error.code = static_cast<uint8_t>(header.reserved >> 40);
    node->error.offender = address_of(header.local_address, 0);
    node->destination = address_of(header.remote_address, header.remote_port);
    node->next = nullptr;
    ErrorNode** end = &errors_;
    while (*end != nullptr) end = &(*end)->next;
    *end = node;
    ++error_count_;
  }
}

long Socket::take_queued_error(ReceiveRequest& request) {
  ErrorNode* node = errors_;
  if (node == nullptr) return -EAGAIN;
  errors_ = node->next;
  --error_count_;
  request.out_flags |= MSG_ERRQUEUE;
  request.queued_error = node->error;
  request.source = node->destination;
  request.has_source = true;
  delete node;
  return 0;  // the payload of the offending datagram is not kept
}

// Takes the datagram at the head: its length as recv(2) counts it, or -EAGAIN. Under rx_lock.
long Socket::take_datagram(Home& h, ReceiveRequest& request) {
  collect_errors(h);
  if ((request.flags & MSG_ERRQUEUE) != 0) return take_queued_error(request);
  abi::Descriptor d;
  abi::DatagramHeader header;
  if (!head_record(h, d, header)) return -EAGAIN;
  IovCursor to(request.data);
  const uint32_t n = static_cast<uint32_t>(std::min<size_t>(header.payload_length, to.left()));
  const bool fault = to.copy_in(h.channel->map().bytes(d.offset + sizeof header, n).data(), n) < n;
  store_relaxed(h.copied_in, h.copied_in + n);
  store_relaxed(h.shared->copied_in, h.copied_in);
  const bool truncated = n < header.payload_length || (header.flags & abi::kDatagramTruncated) != 0;
  if (truncated) request.out_flags |= MSG_TRUNC;
  request.has_source = true;
  request.source = address_of(header.remote_address, header.remote_port);
  request.destination = address_of(header.local_address, 0);
  request.interface_index = header.interface_index;
  request.tos = header.tos;
  request.ttl = header.ttl;
  request.timestamp_ns = header.timestamp_ns;
  if ((request.flags & MSG_PEEK) == 0) consume_record(h, d);
  if (fault) return -EFAULT;  // the datagram is lost all the same, as Linux loses it
  return (request.flags & MSG_TRUNC) != 0 ? header.payload_length : n;
}

long Socket::receive_datagram(int k, ReceiveRequest& request) {
  if ((request.flags & MSG_OOB) != 0 && kind_ != abi::kKindUdp) return -EOPNOTSUPP;  // UDP takes no notice, as on Linux
  const bool nonblocking = request.nonblocking || (request.flags & (MSG_DONTWAIT | MSG_ERRQUEUE)) != 0;
  Deadline deadline(receive_timeout_ns_);
  for (bool wanting = false;;) {
    Home* h = nullptr;
    RingLock lock;
    const int entered = enter(k, Side::rx, h, lock);
    if (entered == kKernelMode) {
      IovCursor to(request.data);
      return receive_kernel(k, to, request);
    }
    if (entered == -ENETDOWN) return receive_without_server(nonblocking, deadline);
    if (entered < 0) return entered;
    abi::SocketShared& s = *h->shared;
    const Seen seen = look(*h);
    const uint32_t ready = load_acquire(s.ready);
    if ((request.flags & MSG_ERRQUEUE) == 0 && load_acquire(s.error) != 0) {
      if (const int error = take_error_of(*h); error != 0) return -error;
    }
    const long r = take_datagram(*h, request);
    lock.release();
    if (load_relaxed(h->rx_bytes) >= load_relaxed(s.rx_report_at) && r != -EAGAIN) h->channel->ring(h->engine, h->slot);
    if (r != -EAGAIN) return r;
    if ((ready & abi::kReadClosed) != 0 && !nonblocking) return 0;  // who does not wait is not told
    if (!wanting) {
      atomic_or(s.wants, uint32_t{abi::kWantRead});
      wanting = true;
      continue;
    }
    if (nonblocking) return -EAGAIN;
    wanting = false;
    const int waited = wait_for_event(*h, seen, deadline);
    if (waited != 0 && waited != -ENETDOWN) return waited;
  }
}

}  // namespace ferry::client

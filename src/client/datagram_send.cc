// Sending datagrams: header and payload side by side in the output pool, one descriptor each (udp(7), send(2)). Those that several
// calls put together wait in a DatagramCork.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/atomics.h"
#include "client/deadline.h"
#include "client/iov_cursor.h"
#include "client/ring_lock.h"
#include "client/socket.h"

namespace ferry::client {

namespace abi = ipc::abi;

namespace {

constexpr size_t kMaxDatagram = 65507;  // 65535 - IPv4 header - UDP header

abi::DatagramHeader header_for(const SendRequest& request, size_t payload) {
  abi::DatagramHeader header{};
  if (request.to != nullptr) {
    std::memcpy(header.remote_address, request.to->ip, sizeof header.remote_address);
    header.remote_port = request.to->port;
  }
  if (request.source != nullptr) std::memcpy(header.local_address, request.source->ip, sizeof header.local_address);
  if (request.tos >= 0) {
    header.tos = static_cast<uint8_t>(request.tos);
    header.flags |= abi::kDatagramTosSet;
  }
  header.ttl = static_cast<uint8_t>(request.ttl);
  header.payload_length = static_cast<uint32_t>(payload);
  return header;
}

}  // namespace

bool Socket::is_to_port_0(const SendRequest& request) const {
  return request.to != nullptr && request.to->port == 0 && kind_ == abi::kKindUdp;
}

bool Socket::is_corked(const SendRequest& request) const {
  if ((request.flags & MSG_MORE) != 0 || (local_options() & kOptCork) != 0) return true;
  DatagramCork* c = load_acquire(cork_);
  return c != nullptr && !c->is_empty();
}

DatagramCork& Socket::cork() {
  if (DatagramCork* c = load_acquire(cork_); c != nullptr) return *c;
  Guard guard(mutex_);
  if (cork_ == nullptr) store_release(cork_, new DatagramCork);
  return *cork_;
}

// Sends what waits in the cork; 0 if nothing does.
long Socket::send_corked(int k, bool nonblocking) {
  DatagramCork* c = load_acquire(cork_);
  auto parcel = c != nullptr ? c->take() : std::nullopt;
  if (!parcel) return 0;
  const iovec data{parcel->bytes.data(), parcel->bytes.size()};
  SendRequest whole;
  whole.data = {&data, 1};
  whole.nonblocking = nonblocking;
  if (parcel->to) whole.to = &*parcel->to;
  if (parcel->source) whole.source = &*parcel->source;
  whole.tos = parcel->tos;
  whole.ttl = parcel->ttl;
  return send_whole_datagram(k, whole);
}

long Socket::send_datagram(int k, const SendRequest& request) {
  if (__builtin_expect(!is_corked(request), 1)) return send_whole_datagram(k, request);
  if (cork().is_empty()) {  // else the address is the first one's
    if (is_to_port_0(request)) return -EINVAL;
    Home* h = nullptr;
    if (request.to == nullptr && home(k, h) == 0 && (load_acquire(h->shared->ready) & abi::kConnected) == 0) return -EDESTADDRREQ;
  }
  const long added = cork().add(request, kMaxDatagram);
  if (added == 0 && request.file != nullptr) return 0;  // another reader has emptied the pipe
  if (added < 0 || (request.flags & MSG_MORE) != 0 || (local_options() & kOptCork) != 0) return added;
  const long sent = send_corked(k, request.nonblocking || (request.flags & MSG_DONTWAIT) != 0);
  return sent < 0 ? sent : added;
}

long Socket::send_whole_datagram(int k, const SendRequest& request) {
  IovCursor data(request.data, request.file);
  const size_t payload = data.left();
  if (payload > kMaxDatagram) return -EMSGSIZE;
  if ((request.flags & MSG_OOB) != 0) return -EOPNOTSUPP;
  if (is_to_port_0(request)) return -EINVAL;
  abi::DatagramHeader header = header_for(request, payload);
  const bool nonblocking = request.nonblocking || (request.flags & MSG_DONTWAIT) != 0;
  Deadline deadline(send_timeout_ns_);
  for (Wish wish;;) {
    Home* h = nullptr;
    RingLock lock;
    const int entered = enter(k, Side::tx, h, lock);
    if (entered == kKernelMode) return data.is_file() ? 0 : send_kernel(k, data, request);
    if (entered < 0) return entered;
    abi::SocketShared& s = *h->shared;
    if (request.to == nullptr && (load_acquire(s.ready) & abi::kConnected) == 0) return -EDESTADDRREQ;
    const Seen seen = look(*h);
    if (load_relaxed(s.error) != 0) {
      if (const int error = take_error_of(*h); error != 0) return -error;
    }
    if (h->write_shut || (load_relaxed(s.ready) & abi::kWriteClosed) != 0) return -EPIPE;
    const int put = put_record(*h, header, data);
    lock.release();
    if (put == -EFAULT) return data.is_file() ? 0 : put;
    if (put == 0) {
      h->channel->ring(h->engine, h->slot);
      return static_cast<long>(header.payload_length);
    }
    if (wish.make(*h, seen, s.wants)) continue;
    if (nonblocking) return put == kStarved ? -ENOBUFS : -EAGAIN;
    wish.asked = nullptr;
    const int waited = put == kStarved ? wait_a_little(*h, wish.before) : wait_for_event(*h, wish.before, deadline);
    if (waited != 0) return waited;
  }
}

}  // namespace ferry::client

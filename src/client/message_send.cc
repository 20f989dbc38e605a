// Sending messages (sctp(7)), to one peer or to many: header and payload side by side in the output pool, one descriptor each.
// The control message that the program gave goes along unread.
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

constexpr size_t kMaxMessage = 192 * 1024;  // with its header in one run of the pool; Linux: the send buffer

abi::MessageHeader header_for(const SendRequest& request, size_t payload) {
  abi::MessageHeader header{};
  if (request.to != nullptr) {
    std::memcpy(header.remote_address, request.to->ip, sizeof header.remote_address);
    header.remote_port = request.to->port;
  }
  if (request.control != nullptr) {
    header.control_type = request.control->type;
    header.control_length = request.control->length;
    std::memcpy(header.control, request.control->bytes, sizeof header.control);
  }
  header.payload_length = static_cast<uint32_t>(payload);
  return header;
}

}  // namespace

// As stream_send_state(). With many peers, a message has to say whose it is: by an address, or by the association in its control message.
int Socket::message_send_state(Home& h, const SendRequest& request) {
  if (!has_many_peers()) return stream_send_state(h, false);
  if (load_relaxed(h.shared->error) != 0) {
    if (const int error = take_error_of(h); error != 0) return -error;
  }
  return request.to == nullptr && request.control == nullptr ? -EPIPE : 0;
}

long Socket::send_message(int k, const SendRequest& request) {
  IovCursor data(request.data, request.file);
  const size_t payload = data.left();
  if (payload > kMaxMessage) return -EMSGSIZE;
  if ((request.flags & MSG_OOB) != 0) return -EOPNOTSUPP;
  abi::MessageHeader header = header_for(request, payload);
  const bool nonblocking = request.nonblocking || (request.flags & MSG_DONTWAIT) != 0;
  Deadline deadline(send_timeout_ns_);
  for (Wish wish;;) {
    Home* h = nullptr;
    RingLock lock;
    const int entered = enter(k, Side::tx, h, lock);
    if (entered == kKernelMode) return data.is_file() ? 0 : send_kernel(k, data, request);
    if (entered < 0) return entered;
    const Seen seen = look(*h);
    int state = message_send_state(*h, request);
    if (state < 0) return state;
    if (state == 0) state = put_record(*h, header, data);
    lock.release();
    if (state == -EFAULT) return data.is_file() ? 0 : state;
    if (state == 0) {
      h->channel->ring(h->engine, h->slot);
      return static_cast<long>(header.payload_length);
    }
    if (wish.make(*h, seen, h->shared->wants)) continue;
    if (nonblocking) return state == kStarved ? -ENOBUFS : -EAGAIN;
    wish.asked = nullptr;
    const int waited = state == kStarved ? wait_a_little(*h, wish.before) : wait_for_event(*h, wish.before, deadline);
    if (waited != 0) return waited;
  }
}

}  // namespace ferry::client

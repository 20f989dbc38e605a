// Kernel mode (tier 2): plain system calls on K, one end of a socket pair whose other end the server moves bytes through.
// Plain transfers are plain read and write: those a program's seccomp filter lets pass (sshd's allows no sendmsg).
// What a pair cannot carry (urgent data, addresses of datagrams, the error queue) is refused or comes from the shared slot.
#include <sys/socket.h>

#include <cerrno>

#include "base/atomics.h"
#include "client/deadline.h"
#include "client/iov_cursor.h"
#include "client/socket.h"
#include "client/sys.h"

namespace ferry::client {

namespace abi = ipc::abi;

namespace {
constexpr size_t kMaxPieces = 64;  // of a scatter list handed on; a stream takes the rest in the next round
constexpr int kPairFlags = MSG_PEEK | MSG_WAITALL | MSG_TRUNC | MSG_DONTWAIT | MSG_NOSIGNAL;
}  // namespace

int Socket::error_in_kernel_mode() {
  Home* h = current_home();
  return h != nullptr && h->channel->is_mine() && !h->channel->is_dead() ? take_error_of(*h) : 0;
}

long Socket::send_kernel(int k, IovCursor& data, const SendRequest& request) {
  if ((request.flags & MSG_OOB) != 0) return -EOPNOTSUPP;
  if (request.to != nullptr && !is_stream()) return -EOPNOTSUPP;  // the pair has no place for an address
  if (const int error = error_in_kernel_mode(); error != 0) return -error;
  long sent = 0;
  do {
    iovec pieces[kMaxPieces];
    msghdr message{};
    message.msg_iov = pieces;
    message.msg_iovlen = data.rest(pieces, kMaxPieces);
    const bool plain = (request.flags & kPairFlags) == 0 && is_stream() && message.msg_iovlen > 0;
    const int flags = (request.flags & kPairFlags) | MSG_NOSIGNAL | (request.nonblocking ? MSG_DONTWAIT : 0);
    const long r = plain ? sys().writev(k, pieces, static_cast<int>(message.msg_iovlen)) : sys().sendmsg(k, &message, flags);
    if (r < 0) {
      if (sent > 0) return sent;
      if (r != -EPIPE && r != -ECONNRESET) return r;
      const int error = error_in_kernel_mode();
      return error != 0 ? -error : -EPIPE;
    }
    data.skip(static_cast<size_t>(r));
    sent += r;
    if (r == 0) break;
  } while (data.left() > 0 && kind_ == abi::kKindTcp);
  return sent;
}

long Socket::receive_kernel(int k, IovCursor& to, ReceiveRequest& request) {
  if ((request.flags & MSG_ERRQUEUE) != 0) return -EAGAIN;
  iovec pieces[kMaxPieces];
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = to.rest(pieces, kMaxPieces);
  const int flags = (request.flags & kPairFlags) | (request.nonblocking ? MSG_DONTWAIT : 0);
  const bool plain = (request.flags & kPairFlags) == 0 && is_stream() && message.msg_iovlen > 0;
  const long r = plain ? sys().readv(k, pieces, static_cast<int>(message.msg_iovlen)) : sys().recvmsg(k, &message, flags);
  if (r == -ECONNRESET || (r == 0 && to.left() > 0)) {
    const int error = error_in_kernel_mode();
    return error != 0 ? -error : 0;
  }
  if (r < 0) return r;
  request.out_flags |= message.msg_flags & MSG_TRUNC;
  if (!is_stream()) request.has_source = remote_address(k, request.source) == 0;
  return r;
}

uint32_t Socket::kernel_readiness(int k) {
  pollfd p{k, POLLIN | POLLOUT | POLLPRI | POLLRDHUP | POLLRDNORM | POLLWRNORM, 0};
  const timespec now{};
  if (sys().ppoll(&p, 1, &now) < 0) return POLLERR;
  uint32_t bits = static_cast<uint32_t>(p.revents);
  if (Home* h = current_home(); h != nullptr && h->channel->is_mine() && load_relaxed(h->shared->error) != 0) bits |= POLLERR;
  return bits;
}

}  // namespace ferry::client

// Sockets whose ferryd has ended or has dropped this process. They behave as if the interface had gone down for good:
//
//   connections          readable, hung up and in error for ever, as after a reset: programs close them
//   listeners, datagrams ENETDOWN is told once, by poll and by the next call; from then on nothing comes. Nothing is ready, a call that
//                        must not block has EAGAIN, one that blocks waits for its time-out or a signal. A server that survives errors of
//                        accept(2) would otherwise ask again at once, for ever.
#include <poll.h>

#include <cerrno>

#include "base/atomics.h"
#include "client/deadline.h"
#include "client/socket.h"
#include "client/sys.h"
#include "ipc/futex.h"

namespace ferry::client {

namespace abi = ipc::abi;

bool Socket::falls_silent() const { return kind_ != abi::kKindTcp && kind_ != abi::kKindMessage; }

uint32_t Socket::readiness_without_server() const {
  if (falls_silent()) return load_relaxed(gone_told_) != 0 ? 0 : POLLERR | POLLIN | POLLRDNORM;
  return POLLERR | POLLHUP | POLLIN | POLLRDNORM | POLLRDHUP | POLLOUT | POLLWRNORM;
}

int Socket::error_without_server() {
  if (!falls_silent()) return -ENETDOWN;
  return atomic_exchange(gone_told_, 1u) == 0 ? -ENETDOWN : 0;
}

int Socket::receive_without_server(bool nonblocking, Deadline& deadline) {
  if (const int error = error_without_server(); error != 0) return error;
  return nonblocking ? -EAGAIN : sleep_without_server(deadline);
}

int Socket::sleep_without_server(Deadline& deadline) {
  for (;;) {
    const bool limited = deadline.limited();
    const int64_t left = limited ? deadline.left_ns() : 0;
    if (limited && left == 0) return -EAGAIN;
    const timespec timeout = ipc::to_timespec(Duration::ns(left));
    const uint32_t value = load_relaxed(gone_told_);
    if (sys().futex_wait(&gone_told_, value, limited ? &timeout : nullptr) == -EINTR) return -EINTR;
  }
}

}  // namespace ferry::client

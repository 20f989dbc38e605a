// How a blocking call waits: a short adaptive spin while the server is awake on another CPU, then a futex.
#include <algorithm>
#include <cerrno>

#include "base/atomics.h"
#include "client/deadline.h"
#include "client/socket.h"
#include "client/sys.h"
#include "ipc/futex.h"

namespace ferry::client {
namespace {

// Counts the thread as one that waits on event_seq, so that the server makes the system call to wake it.
class Waiting {
 public:
  explicit Waiting(uint32_t& waiters) : waiters_(waiters) { atomic_add(waiters_, 1u); }
  ~Waiting() { atomic_add(waiters_, ~0u); }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

 private:
  uint32_t& waiters_;
};

}  // namespace

// For want of memory that others hold: no event of this socket tells when there is some. 0 or -EINTR.
int Socket::wait_a_little(Home& h, uint32_t seen) {
  const timespec timeout = ipc::to_timespec(Duration::ms(5));
  return sys().futex_wait(&h.shared->event_seq, seen, &timeout) == -EINTR ? -EINTR : 0;
}

int Socket::wait_for_event(Home& h, uint32_t seen, Deadline& deadline) {
  if (load_acquire(h.shared->event_seq) != seen) return 0;
  if (spin_.run(h.channel->spin_limit(), [&] { return h.channel->server_awake(h.engine); }, [&] { return load_acquire(h.shared->event_seq) != seen; }))
    return 0;
  const int error = sleep_for_event(h, seen, deadline);
  spin_.slept(h.channel->spin_limit().most);
  return error;
}

int Socket::sleep_for_event(Home& h, uint32_t seen, Deadline& deadline) {
  const Waiting waiting(h.shared->waiters);
  const bool guarded = Channel::config().lifeline_signal != 0;
  for (int64_t slice = 1'000'000'000;; slice = std::min<int64_t>(slice * 2, int64_t{32} * 1'000'000'000)) {
    if (h.channel->is_dead()) return -ENETDOWN;
    int64_t wait_ns = guarded ? -1 : slice;
    if (deadline.limited()) {
      const int64_t left = deadline.left_ns();
      if (left == 0) return -EAGAIN;
      wait_ns = wait_ns < 0 ? left : std::min(left, wait_ns);
    }
    const timespec timeout = ipc::to_timespec(Duration::ns(wait_ns < 0 ? 0 : wait_ns));
    const long r = sys().futex_wait(&h.shared->event_seq, seen, wait_ns < 0 ? nullptr : &timeout);
    if (r == -EINTR) return -EINTR;
    if (r != -ETIMEDOUT) return h.channel->is_dead() ? -ENETDOWN : 0;
    if (!h.channel->check_alive()) return -ENETDOWN;
    if (load_acquire(h.shared->event_seq) != seen) return 0;
  }
}

}  // namespace ferry::client

// How a blocking call waits: a short adaptive spin while the server is awake on another CPU, then a futex.
#include <algorithm>
#include <cerrno>
#include <optional>

#include "base/atomics.h"
#include "client/deadline.h"
#include "client/passage.h"
#include "client/socket.h"
#include "client/sys.h"
#include "ipc/futex.h"

namespace ferry::client {

namespace abi = ipc::abi;

namespace {

constexpr int64_t kLookEvery = 1'000'000'000;  // ns

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
int Socket::wait_a_little(Home& h, const Seen& seen) {
  const timespec timeout = ipc::to_timespec(Duration::ms(5));
  return sys().futex_wait(&h.shared->event_seq, seen.server, &timeout) == -EINTR ? -EINTR : 0;
}

Socket::Seen Socket::look(const Home& h) {
  Seen seen;
  seen.server = load_acquire(h.shared->event_seq);
  seen.passage = passage_of(h);
  if (seen.passage != nullptr) seen.peer = load_acquire(seen.passage->mine.event_seq);
  return seen;
}

bool Socket::Wish::make(const Home& h, const Seen& seen, uint32_t& wants) {
  if (asked == &h) return false;
  asked = &h;
  before = seen;
  atomic_or(wants, uint32_t{abi::kWantWrite});
  return true;
}

// A passage that has begun or ended since is news: what wakes the caller has changed.
bool Socket::has_news(const Home& h, const Seen& seen) {
  if (load_acquire(h.shared->event_seq) != seen.server) return true;
  const bool passing = load_acquire(h.shared->mode) == abi::kModePassing;
  if (passing != (seen.passage != nullptr)) return true;
  return passing && (passage_of(h) != seen.passage || load_acquire(seen.passage->mine.event_seq) != seen.peer);
}

int Socket::wait_for_event(Home& h, const Seen& seen, Deadline& deadline) {
  if (has_news(h, seen)) return 0;
  // In a passage nobody tells whether the other client is awake; what spinning has been worth has to do.
  const auto awake = [&] { return seen.passage != nullptr || h.channel->server_awake(h.engine); };
  if (spin_.run(h.channel->longest_spin(), awake, [&] { return has_news(h, seen); })) return 0;
  const int error = sleep_for_event(h, seen, deadline);
  spin_.slept(h.channel->longest_spin());
  return error;
}

// The other client can write the word that it wakes us by, and put back a value that says that nothing has happened. So we wait for the
// server's word as well, which it cannot; where a time-out has to end in EINTR, which that call cannot do, we look now and then. `limited`:
// that is so, else wait_ns, -1 for none, is only until the next look.
long Socket::sleep_once(Home& h, const Seen& seen, int64_t wait_ns, bool limited) {
  const uint32_t* server = &h.shared->event_seq;
  const uint32_t* peer = seen.passage != nullptr ? &seen.passage->mine.event_seq : nullptr;
  if (peer != nullptr && !limited) {
    const uint32_t* const words[] = {peer, server};
    const uint32_t values[] = {seen.peer, seen.server};
    return futex_wait_any_for(wait_ns, words, values, 2);
  }
  if (wait_ns < 0) return sys().futex_wait(server, seen.server, nullptr);
  const timespec timeout = ipc::to_timespec(Duration::ns(peer != nullptr ? std::min(wait_ns, kLookEvery) : wait_ns));
  if (!limited) return sys().futex_wait_slice(server, seen.server, &timeout);
  return sys().futex_wait(peer != nullptr ? peer : server, peer != nullptr ? seen.peer : seen.server, &timeout);
}

int Socket::sleep_for_event(Home& h, const Seen& seen, Deadline& deadline) {
  const Waiting waiting(h.shared->waiters);
  std::optional<Waiting> waiting_for_peer;
  if (seen.passage != nullptr) waiting_for_peer.emplace(seen.passage->mine.waiters);
  for (Slices slices;;) {
    if (h.channel->is_dead()) return -ENETDOWN;
    int64_t wait_ns = slices.next();
    if (deadline.limited()) {
      const int64_t left = deadline.left_ns();
      if (left == 0) return -EAGAIN;
      wait_ns = wait_ns < 0 ? left : std::min(left, wait_ns);
    }
    const long r = sleep_once(h, seen, wait_ns, deadline.limited());
    if (r == -EINTR) return -EINTR;
    if (r != -ETIMEDOUT) return h.channel->is_dead() ? -ENETDOWN : 0;
    if (!h.channel->check_alive()) return -ENETDOWN;
    if (has_news(h, seen)) return 0;
  }
}

}  // namespace ferry::client

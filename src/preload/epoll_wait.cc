// Waiting on an epoll set: which Ferry registrations are ready, asleep in the kernel's epoll instance otherwise. epoll_wait(2).
#include <errno.h>
#include <time.h>

#include <algorithm>

#include "client/guarded_copy.h"
#include "client/process.h"
#include "ipc/syscall.h"
#include "preload/epoll_marker.h"
#include "preload/epoll_set.h"
#include "preload/real.h"
#include "preload/remaining_time.h"
#include "preload/socket_file.h"

namespace ferry::preload {
namespace {

constexpr uint32_t kSlotsAtOnce = 64;
// While Ferry sockets are ready all the time and kernel descriptors are quiet, those are asked every so many rounds.
constexpr uint32_t kKernelEvery = 4;

bool kernel_readable(int fd) {
  pollfd p{fd, POLLIN, 0};
  return ipc::raw_syscall(SYS_poll, ipc::arg(&p), 1, 0) == 1 && (p.revents & POLLIN) != 0;
}

}  // namespace

void EpollSet::enlist(Registration& r) {
  if (r.ready || r.native) return;
  r.ready = true;
  r.next = nullptr;
  r.previous = ready_tail_;
  (ready_tail_ != nullptr ? ready_tail_->next : ready_head_) = &r;
  ready_tail_ = &r;
  __atomic_store_n(&ready_count_, ready_count_ + 1, __ATOMIC_SEQ_CST);
}

void EpollSet::unlist(Registration& r) {
  if (!r.ready) return;
  r.ready = false;
  (r.previous != nullptr ? r.previous->next : ready_head_) = r.next;
  (r.next != nullptr ? r.next->previous : ready_tail_) = r.previous;
  __atomic_store_n(&ready_count_, ready_count_ - 1, __ATOMIC_RELAXED);
}

EpollSet::Registration* EpollSet::at_slot(uint32_t slot) {
  Registration* hint = slot < by_slot_.size() ? by_slot_[slot] : nullptr;
  if (hint != nullptr && socket_of(*hint)->socket.slot() == slot) return hint;
  client::Socket* socket = queue_.socket_at(slot);
  if (socket == nullptr) return nullptr;
  for (auto& [fd, r] : registrations_) {
    if (r->native || r->file->kind() != FileKind::socket || &socket_of(*r)->socket != socket) continue;
    if (by_slot_.size() <= slot) by_slot_.resize(slot + 1);
    return by_slot_[slot] = r.get();
  }
  return nullptr;
}

// Moves what the server has reported onto the ready list, what came first in front: there are programs that live by that order.
void EpollSet::collect() {
  uint32_t slots[kSlotsAtOnce];
  uint32_t count = 0;
  reported_.clear();
  do {
    count = queue_.take(slots, kSlotsAtOnce);
    for (uint32_t i = 0; i < count; ++i) reported_.push_back({queue_.event_time(slots[i]), slots[i]});
  } while (count == kSlotsAtOnce);
  if (reported_.size() > 1) {
    const uint32_t some = reported_[0].time;  // times wrap; how far they are from one of them does not
    std::sort(reported_.begin(), reported_.end(),
              [some](const Event& a, const Event& b) { return static_cast<int32_t>(a.time - some) < static_cast<int32_t>(b.time - some); });
  }
  for (const Event& e : reported_) {
    Registration* r = at_slot(e.slot);
    if (r == nullptr) continue;
    enlist(*r);
    if (r->file->names() < 2) continue;
    for (auto& [fd, other] : registrations_)  // the same file under another number
      if (other->file == r->file) enlist(*other);
  }
}

// The events of one registration now; 0 also if the kernel has taken over watching it.
uint32_t EpollSet::evaluate(int epfd, Registration& r) {
  uint32_t bits = 0;
  if (r.file->kind() == FileKind::epoll) {
    auto* nested = static_cast<EpollSet*>(r.file);
    bits = nested->has_ready(r.fd) || kernel_readable(r.fd) ? EPOLLIN | EPOLLRDNORM : 0;
  } else {
    SocketFile& file = *socket_of(r);
    if (file.in_kernel_mode(r.fd)) {
      queue_.unwatch(file.socket);
      go_native(epfd, r);
      return 0;
    }
    bits = file.socket.readiness(r.fd);
    if (r.twin >= 0 && kernel_readable(r.twin)) bits |= EPOLLIN | EPOLLRDNORM;
  }
  return bits & (r.events | EPOLLERR | EPOLLHUP);
}

int EpollSet::harvest(int epfd, epoll_event* events, int capacity) {
  if (queue_.is_open()) collect();
  int found = 0;
  uint32_t left = ready_count_;
  for (; left > 0 && found < capacity; --left) {
    Registration* r = ready_head_;
    if (r == nullptr) break;
    unlist(*r);
    if (!r->armed) continue;
    uint32_t bits = evaluate(epfd, *r);
    if (bits == 0) continue;
    events[found].events = bits;
    events[found].data = r->data;
    ++found;
    if ((r->events & EPOLLONESHOT) != 0) r->armed = false;
    else if ((r->events & EPOLLET) == 0) enlist(*r);
  }
  if (left > 0) wake_sleepers();  // for another thread: this one may not come back soon
  return found;
}

// A thread that was woken leaves without having looked: another one is to.
void EpollSet::pass_on() {
  if (__atomic_load_n(&queue_sleepers_, __ATOMIC_SEQ_CST) == 0) return;
  client::Guard guard(mutex_);
  if (queue_.is_open()) collect();
  if (ready_count_ != 0) wake_sleepers();
}

int EpollSet::filter(epoll_event* events, int count) {
  int kept = 0;
  bool marked = false;
  for (int i = 0; i < count; ++i) {
    if (is_marker(events[i].data.u64)) marked |= marked_fd(events[i].data.u64) >= 0;
    else events[kept++] = events[i];
  }
  if (!marked) return kept;
  client::Guard guard(mutex_);  // a nested set or a twin listener: look at all of them, they are few
  for (auto& [fd, r] : registrations_)
    if (r->twin >= 0 || r->file->kind() == FileKind::epoll) enlist(*r);
  return kept;
}

int EpollSet::poll_kernel(int epfd, epoll_event* events, int capacity) {
  if (capacity <= 0) return 0;
  long count = ipc::raw_syscall(SYS_epoll_pwait, epfd, ipc::arg(events), capacity, 0, 0, 8);
  return count <= 0 ? static_cast<int>(count) : filter(events, static_cast<int>(count));
}

int EpollSet::sleep(int epfd, epoll_event* events, int capacity, const timespec* timeout, const sigset_t* mask) {
  int count = -1;
  // libc's functions, so that waiting is a cancellation point.
  if (real().epoll_pwait2 != nullptr) count = real().epoll_pwait2(epfd, events, capacity, timeout, mask);
  else count = real().epoll_pwait(epfd, events, capacity, to_milliseconds(timeout), mask);
  return count < 0 ? -errno : count;
}

// One thread of a set, and not while kernel descriptors of it are busy.
bool EpollSet::may_spin() const {
  return !kernel_busy_ && __atomic_load_n(&queue_sleepers_, __ATOMIC_RELAXED) == 0;
}

// What a thread that sleeps in E has announced, and takes back, also when it is cancelled there.
struct EpollSet::NestedSleep {
  FileRef<> set;
  client::EventQueue::Sleep sleep;
};

struct EpollSet::Announced {
  EpollSet& set;
  client::EventQueue::Sleep sleep;
  std::vector<NestedSleep> nested;

  explicit Announced(EpollSet& s) : set(s) { __atomic_fetch_add(&set.queue_sleepers_, 1, __ATOMIC_SEQ_CST); }
  ~Announced() {
    const int saved_errno = errno;
    __atomic_fetch_sub(&set.queue_sleepers_, 1, __ATOMIC_SEQ_CST);
    set.queue_.finish_sleep(sleep);
    for (NestedSleep& n : nested) static_cast<EpollSet*>(n.set.get())->finish_sleep(n.sleep);
    errno = saved_errno;
  }
};

bool EpollSet::prepare_nested(std::vector<NestedSleep>& nested) {
  client::Guard guard(mutex_);
  bool quiet = true;
  for (auto& [fd, r] : registrations_) {
    if (r->file->kind() != FileKind::epoll || !r->file->try_acquire()) continue;
    nested.push_back({FileRef<>(r->file), {}});
    quiet &= static_cast<EpollSet*>(r->file)->prepare_sleep(fd, nested.back().sleep);
    if (!quiet) enlist(*r);
  }
  return quiet;
}

// Sleeps in E until something may be ready: as sleep(), 0 also if something is known to be.
int EpollSet::sleep_announced(int epfd, epoll_event* events, int capacity, const timespec* timeout, const sigset_t* mask, bool& quiet) {
  Announced announced(*this);
  quiet = nested_count_ == 0 || prepare_nested(announced.nested);
  quiet = (!queue_.is_open() || queue_.prepare_sleep(announced.sleep)) && quiet;
  // The ready list may have grown since the harvest (another thread's epoll_ctl).
  quiet = quiet && __atomic_load_n(&ready_count_, __ATOMIC_SEQ_CST) == 0;
  return quiet ? sleep(epfd, events, capacity, timeout, mask) : 0;
}

// Sleeps in E while there is nothing of Ferry's in the set: who adds something nudges one of those who do so, each the next.
int EpollSet::sleep_plainly(int epfd, epoll_event* events, int capacity, const timespec* timeout, const sigset_t* mask) {
  struct Counted {
    uint32_t& sleepers;
    ~Counted() { __atomic_fetch_sub(&sleepers, 1, __ATOMIC_SEQ_CST); }
  };
  int count = 0;
  {
    Counted counted{plain_sleepers_};
    count = sleep(epfd, events, capacity, timeout, mask);
  }
  if (count > 0 && __atomic_load_n(&plain_sleepers_, __ATOMIC_SEQ_CST) != 0) {
    client::Guard guard(mutex_);
    if (queue_.is_open() || nested_count_ != 0) nudge(epfd);
  }
  return count;
}

int EpollSet::wait(int epfd, epoll_event* events, int capacity, const timespec* timeout, const sigset_t* mask) {
  if (capacity <= 0 || capacity > static_cast<int>(INT32_MAX / sizeof(epoll_event))) return -EINVAL;
  if (!client::is_writable(events, sizeof(*events)) || (timeout != nullptr && !client::is_readable(timeout, sizeof(*timeout)))) return -EFAULT;
  const bool no_wait = timeout != nullptr && timeout->tv_sec == 0 && timeout->tv_nsec == 0;
  RemainingTime remaining(timeout);
  bool spun = false;
  for (;;) {
    int found = 0;
    bool pure_kernel = false;
    bool ask_kernel = false;
    int kept = 0;  // of the answer, for kernel descriptors: sockets that are always ready would fill it
    {
      client::Guard guard(mutex_);
      if (int error = make_current(epfd); error != 0) return error;
      pure_kernel = !queue_.is_open() && nested_count_ == 0 && ready_count_ == 0;
      const bool due = (!kernel_.empty() || kernel_sources_ != 0) && ++since_kernel_ >= kKernelEvery;
      ask_kernel = due || kernel_busy_;
      kept = due || (ask_kernel && capacity > 1) ? 1 : 0;
      if (!pure_kernel && capacity > kept) found = harvest(epfd, events, capacity - kept);
      if (pure_kernel) __atomic_fetch_add(&plain_sleepers_, 1, __ATOMIC_SEQ_CST);  // who adds the first socket sees it from now on
    }
    if (pure_kernel) {
      int count = sleep_plainly(epfd, events, capacity, remaining.left(), mask);
      if (count <= 0) return count;
      if (count = filter(events, count); count > 0) return count;
      continue;  // meanwhile another thread added a Ferry socket, and nudged us
    }
    if (found > 0 && !ask_kernel) return found;
    if (found > 0 || no_wait || capacity == kept) {
      since_kernel_ = 0;
      int more = poll_kernel(epfd, events + found, capacity - found);
      kernel_busy_ = more > 0;
      if (found > 0 || more != 0) return found + (more > 0 ? more : 0);
      if (!no_wait) continue;
      if (capacity > kept && __atomic_load_n(&ready_count_, __ATOMIC_RELAXED) == 0) return more;
      client::Guard guard(mutex_);
      return harvest(epfd, events, capacity);
    }
    if (remaining.expired()) return 0;
    // A signal that only `mask` lets through comes in the kernel's epoll_pwait.
    if (queue_.is_open() && queue_.spin(!spun && mask == nullptr && may_spin())) {
      spun = true;  // once a call: kernel descriptors must be asked as well
      continue;
    }
    bool quiet = true;
    int count = sleep_announced(epfd, events, capacity, remaining.left(), mask, quiet);
    if (count < 0) return pass_on(), count;
    since_kernel_ = 0;
    count = filter(events, count);
    if (count > 0) {
      if (count == capacity) return pass_on(), count;
      client::Guard guard(mutex_);
      return count + harvest(epfd, events + count, capacity - count);
    }
    if (quiet && remaining.expired()) {
      client::Guard guard(mutex_);
      return harvest(epfd, events, capacity);
    }
  }
}

bool EpollSet::has_ready(int epfd) {
  client::Guard guard(mutex_);
  if (make_current(epfd) != 0) return false;
  if (queue_.is_open()) collect();
  for (uint32_t left = ready_count_; left > 0; --left) {
    Registration* r = ready_head_;
    if (r == nullptr) break;
    unlist(*r);
    if (!r->armed || evaluate(epfd, *r) == 0) continue;
    enlist(*r);  // to be reported by epoll_wait
    return true;
  }
  return false;
}

bool EpollSet::prepare_sleep(int epfd, client::EventQueue::Sleep& sleep) {
  __atomic_fetch_add(&queue_sleepers_, 1, __ATOMIC_SEQ_CST);
  if (has_ready(epfd)) return false;
  return !queue_.is_open() || queue_.prepare_sleep(sleep);
}

void EpollSet::finish_sleep(client::EventQueue::Sleep& sleep) {
  __atomic_fetch_sub(&queue_sleepers_, 1, __ATOMIC_SEQ_CST);
  queue_.finish_sleep(sleep);
}

}  // namespace ferry::preload

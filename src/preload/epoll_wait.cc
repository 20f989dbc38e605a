// Waiting on an epoll set: which Ferry registrations are ready; if none is, epoll_sleep.cc. epoll_wait(2).
#include <errno.h>
#include <time.h>

#include <algorithm>

#include "client/guarded_copy.h"
#include "client/process.h"
#include "ipc/syscall.h"
#include "preload/cancel.h"
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
  __atomic_store_n(&news_, news_ + 1, __ATOMIC_RELAXED);
  put_back(r);
}

void EpollSet::put_back(Registration& r) {
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
    bool ready = set_of(r).has_ready(r.fd);
    if (!ready && kernel_readable(r.fd)) {  // also by what wakes threads, which is nothing to be told
      settle_below(r);
      ready = set_of(r).has_ready(r.fd) || kernel_readable(r.fd);
    }
    bits = ready ? EPOLLIN | EPOLLRDNORM : 0;
    r.seen = __atomic_load_n(&set_of(r).news_, __ATOMIC_RELAXED);
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
  if (nested_count_ != 0) look_below();
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
    else if ((r->events & EPOLLET) == 0) put_back(*r);
  }
  if (found > 0 && ready_count_ != 0) wake_sleepers();  // this thread may not come back soon; so does the kernel
  return found;
}

int EpollSet::filter(epoll_event* events, int count) {
  int kept = 0;
  for (int i = 0; i < count; ++i) {
    if (!is_marker(events[i].data.u64)) {
      if (kept != i) events[kept] = events[i];
      ++kept;
      continue;
    }
    client::Guard guard(mutex_);  // they are few
    const int marked = marked_fd(events[i].data.u64);
    if (marked < 0) {
      if (token_ != client::process_token()) make_private(number());  // the parent's, in the E that we share
      else settle();
      continue;
    }
    for (auto& [fd, r] : registrations_)
      if (r->twin == marked || (r->fd == marked && r->file->kind() == FileKind::epoll)) enlist(*r);
  }
  return kept;
}

int EpollSet::poll_kernel(Call call, int epfd, epoll_event* events, int capacity) {
  if (capacity <= 0) return 0;
  NotCancelled until_told;  // what is in front of `events` would be lost
  constexpr timespec kNow{0, 0};
  const int count = call(epfd, events, capacity, &kNow, nullptr);
  return count < 0 ? -errno : filter(events, count);
}

int EpollSet::wait(Call call, int epfd, epoll_event* events, int capacity, const timespec* timeout, const sigset_t* mask) {
  if (capacity <= 0 || capacity > static_cast<int>(INT32_MAX / sizeof(epoll_event))) return -EINVAL;
  if (!client::is_writable(events, sizeof(*events)) || (timeout != nullptr && !client::is_readable(timeout, sizeof(*timeout)))) return -EFAULT;
  const bool no_wait = timeout != nullptr && timeout->tv_sec == 0 && timeout->tv_nsec == 0;
  RemainingTime remaining(timeout);
  bool spun = false;
  for (;;) {
    int found = 0;
    bool ours = false;  // something of Ferry's is in the set
    bool ask_kernel = false;
    int kept = 0;  // of the answer, for kernel descriptors: sockets that are always ready would fill it
    {
      client::Guard guard(mutex_);
      if (int error = make_current(epfd); error != 0) return error;
      ours = queue_.is_open() || nested_count_ != 0 || ready_count_ != 0;
      if (ours) {
        const bool due = (!kernel_.empty() || kernel_sources_ != 0) && ++since_kernel_ >= kKernelEvery;
        ask_kernel = due || kernel_busy_;
        kept = due || (ask_kernel && capacity > 1) ? 1 : 0;
        if (capacity > kept) found = harvest(epfd, events, capacity - kept);
      }
    }
    if (!ours && no_wait) {
      const int count = call(epfd, events, capacity, timeout, mask);
      return count < 0 ? -errno : filter(events, count);
    }
    if (found > 0 && !ask_kernel) return found;
    if (found > 0 || no_wait || capacity == kept) {
      since_kernel_ = 0;
      int more = poll_kernel(call, epfd, events + found, capacity - found);
      kernel_busy_ = more > 0;
      if (found > 0) pass_on();  // what the kernel has marked meanwhile
      if (found > 0 || more != 0) return found + (more > 0 ? more : 0);
      if (!no_wait) continue;
      if (capacity > kept && __atomic_load_n(&ready_count_, __ATOMIC_RELAXED) == 0) return more;
      client::Guard guard(mutex_);
      return harvest(epfd, events, capacity);
    }
    if (remaining.expired()) return 0;
    // A signal that only `mask` lets through comes in the kernel's call.
    if (queue_.is_open() && queue_.spin(!spun && mask == nullptr && may_spin())) {
      spun = true;  // once a call: kernel descriptors must be asked as well
      continue;
    }
    bool quiet = true;
    int count = sleep_announced(call, epfd, events, capacity, remaining.left(), mask, quiet);
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
  return find_ready(epfd);
}

bool EpollSet::is_readable(int epfd) {
  client::Guard guard(mutex_);
  if (find_ready(epfd)) return true;
  if (!kernel_readable(epfd)) return false;
  settle();
  return find_ready(epfd) || kernel_readable(epfd);
}

// Caller holds the mutex.
bool EpollSet::find_ready(int epfd) {
  if (make_current(epfd) != 0) return false;
  if (queue_.is_open()) collect();
  if (nested_count_ != 0) look_below();
  for (uint32_t left = ready_count_; left > 0; --left) {
    Registration* r = ready_head_;
    if (r == nullptr) break;
    unlist(*r);
    if (!r->armed || evaluate(epfd, *r) == 0) continue;
    put_back(*r);  // to be reported by epoll_wait
    return true;
  }
  return false;
}

}  // namespace ferry::preload

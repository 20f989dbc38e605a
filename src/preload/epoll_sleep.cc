// Threads that sleep on an epoll set: in E, in poll, or on a set that it is in. All are counted by the set's event queue, also while that is not open:
// whatever the set watches later, its first Ferry socket or another set, it is announced to.
//
//   prepare_sleep: count, announce to the queue and to the nested sets, look --> E --> finish_sleep: announce anew for those who sleep on
//   A nested set counts those of the set that it is in as one.
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "client/process.h"
#include "ipc/syscall.h"
#include "preload/epoll_marker.h"
#include "preload/epoll_set.h"
#include "preload/log.h"
#include "preload/private_fds.h"
#include "preload/real.h"
#include "preload/remaining_time.h"

namespace ferry::preload {

// Wakes a thread as the queue does when it has something; that one's finish_sleep() ends it.
void EpollSet::raise_alarm(int epfd) {
  if (alarm_ < 0 || alarm_process_ != client::process_token()) {  // the parent's would wake the parent, too
    drop_alarm();
    const long fd = ipc::raw_syscall(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) return FERRY_LOG_WARN("no descriptor to wake who sleeps on an epoll set: %s", strerror(static_cast<int>(-fd)));
    alarm_process_ = client::process_token();
    __atomic_store_n(&alarm_, private_fds().adopt(static_cast<int>(fd)), __ATOMIC_SEQ_CST);
  }
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = queue_marker();
  ipc::raw_syscall(SYS_epoll_ctl, epfd, EPOLL_CTL_ADD, alarm_, ipc::arg(&event));  // it is there already, unless E is new
  const uint64_t one = 1;
  ipc::raw_syscall(SYS_write, alarm_, ipc::arg(&one), sizeof one);
}

void EpollSet::drop_alarm() {
  const int fd = __atomic_exchange_n(&alarm_, -1, __ATOMIC_SEQ_CST);
  if (fd >= 0) private_fds().close(fd);
}

// What is on the ready list must be seen by a thread that sleeps: it was counted under the mutex, and has looked at the list.
void EpollSet::wake_sleepers(int epfd) {
  if (!queue_.has_sleepers()) return;
  if (queue_.is_open()) queue_.wake();
  else raise_alarm(epfd);
}

// Caller holds the mutex. True: nothing is known to be ready.
bool EpollSet::announce(client::EventQueue::Sleep& sleep) {
  bool quiet = queue_.prepare_sleep(sleep);
  if (nested_count_ != 0) {
    for (auto& [fd, r] : registrations_) {
      if (r->file->kind() != FileKind::epoll || set_of(*r).prepare_sleep(fd, r->sleep)) continue;
      enlist(*r);
      quiet = false;
    }
  }
  return quiet && ready_count_ == 0;
}

bool EpollSet::prepare_sleep(int epfd, client::EventQueue::Sleep& sleep) {
  client::Guard guard(mutex_);
  return announce(sleep) && !find_ready(epfd);
}

void EpollSet::finish_sleep(client::EventQueue::Sleep& sleep) {
  queue_.finish_sleep(sleep);
  uint64_t rung = 0;
  if (const int fd = __atomic_load_n(&alarm_, __ATOMIC_SEQ_CST); fd >= 0) ipc::raw_syscall(SYS_read, fd, ipc::arg(&rung), sizeof rung);
  if (__atomic_load_n(&nested_count_, __ATOMIC_SEQ_CST) == 0) return;
  client::Guard guard(mutex_);
  for (auto& [fd, r] : registrations_) {
    if (r->file->kind() != FileKind::epoll) continue;
    set_of(*r).finish_sleep(r->sleep);
    if (queue_.has_sleepers() && !set_of(*r).prepare_sleep(fd, r->sleep)) enlist(*r);
  }
}

int EpollSet::sleep(int epfd, epoll_event* events, int capacity, const timespec* timeout, const sigset_t* mask) {
  int count = -1;
  // libc's functions, so that waiting is a cancellation point.
  if (real().epoll_pwait2 != nullptr) count = real().epoll_pwait2(epfd, events, capacity, timeout, mask);
  else count = real().epoll_pwait(epfd, events, capacity, to_milliseconds(timeout), mask);
  return count < 0 ? -errno : count;
}

// Sleeps in E until something may be ready: as sleep(), 0 also if something is known to be.
int EpollSet::sleep_announced(int epfd, epoll_event* events, int capacity, const timespec* timeout, const sigset_t* mask, bool& quiet) {
  struct Announced {
    EpollSet& set;
    client::EventQueue::Sleep sleep{};
    ~Announced() {  // also when the thread is cancelled
      const int saved_errno = errno;
      set.finish_sleep(sleep);
      errno = saved_errno;
    }
  } announced{*this};
  {
    client::Guard guard(mutex_);
    quiet = announce(announced.sleep);
  }
  return quiet ? sleep(epfd, events, capacity, timeout, mask) : 0;
}

// One thread of a set, and not while kernel descriptors of it are busy.
bool EpollSet::may_spin() const { return !kernel_busy_ && !queue_.has_sleepers(); }

void EpollSet::pass_on(int epfd) {
  if (!queue_.has_sleepers()) return;
  client::Guard guard(mutex_);
  if (queue_.is_open()) collect();
  if (ready_count_ != 0) wake_sleepers(epfd);
}

}  // namespace ferry::preload

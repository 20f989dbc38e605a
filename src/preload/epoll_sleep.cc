// Threads that sleep on an epoll set: in E, in poll, or on a set that it is in. All are counted by the set's event queue, also while that is not open:
// whatever the set watches later, its first Ferry socket or another set, it is announced to.
//
//   prepare_sleep: count, announce to the queue and to the nested sets, look --> E --> finish_sleep: announce anew for those who sleep on
//   A nested set counts those of the set that it is in as one.
#include <errno.h>
#include <sys/eventfd.h>

#include "client/process.h"
#include "ipc/syscall.h"
#include "preload/epoll_marker.h"
#include "preload/epoll_set.h"
#include "preload/log.h"
#include "preload/private_fds.h"

namespace ferry::preload {

// Wakes a thread as the server does; that one's finish_sleep() ends it. A write, not a call of the server. False: there is no such way.
bool EpollSet::raise_alarm() {
  if (alarm_ < 0 || alarm_process_ != client::process_token()) {  // the parent's would wake the parent, too
    drop_alarm();
    const long fd = ipc::raw_syscall(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) return false;
    const int alarm = private_fds().adopt(static_cast<int>(fd));
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = queue_marker();
    if (ipc::raw_syscall(SYS_epoll_ctl, number(), EPOLL_CTL_ADD, alarm, ipc::arg(&event)) != 0) return private_fds().close(alarm), false;
    alarm_process_ = client::process_token();
    __atomic_store_n(&alarm_, alarm, __ATOMIC_SEQ_CST);
  }
  const uint64_t one = 1;
  ipc::raw_syscall(SYS_write, alarm_, ipc::arg(&one), sizeof one);
  return true;
}

void EpollSet::drop_alarm() {
  const int fd = __atomic_exchange_n(&alarm_, -1, __ATOMIC_SEQ_CST);
  if (fd >= 0) private_fds().close(fd);
}

// What is on the ready list must be seen by a thread that sleeps: it was counted under the mutex, and has looked at the list.
void EpollSet::wake_sleepers() {
  if (!queue_.has_sleepers() || raise_alarm()) return;
  if (queue_.is_open()) queue_.wake();
  else FERRY_LOG_WARN("no descriptor to wake who sleeps on an epoll set");
}

// Caller holds the mutex. True: nothing is known to be ready.
bool EpollSet::announce(client::EventQueue::Sleep& sleep) {
  bool quiet = queue_.prepare_sleep(sleep);
  if (nested_count_ != 0) {
    for (auto& [fd, r] : registrations_) {
      if (r->file->kind() != FileKind::epoll || set_of(*r).prepare_sleep(fd, r->sleep) || !has_news(*r)) continue;
      enlist(*r);
      quiet = false;
    }
  }
  return quiet && ready_count_ == 0;
}

// Caller holds the mutex. Sets below are looked at in any case: who does not sleep is not woken for them.
void EpollSet::look_below() {
  for (auto& [fd, r] : registrations_)
    if (r->counted && !r->ready && r->armed && set_of(*r).has_ready(fd) && has_news(*r)) enlist(*r);
}

// Of a nested set in which something is ready: whether that is to be told. An edge is told once.
bool EpollSet::has_news(Registration& r) {
  if (!r.armed || (r.events & (EPOLLIN | EPOLLRDNORM)) == 0) return false;
  return (r.events & EPOLLET) == 0 || r.seen != __atomic_load_n(&set_of(r).news_, __ATOMIC_RELAXED);
}

bool EpollSet::prepare_sleep(int epfd, client::EventQueue::Sleep& sleep) {
  client::Guard guard(mutex_);
  if (make_current(epfd) != 0) return false;
  const bool quiet = announce(sleep);
  return !find_ready(epfd) && quiet;
}

void EpollSet::finish_sleep(client::EventQueue::Sleep& sleep) {
  queue_.finish_sleep(sleep);
  drain();
  if (__atomic_load_n(&nested_count_, __ATOMIC_SEQ_CST) == 0) return;
  client::Guard guard(mutex_);
  for (auto& [fd, r] : registrations_)
    if (r->sleep.process != 0 && !resume_below(*r) && has_news(*r)) enlist(*r);
}

// What was to wake threads of this set by one below has been taken: those who sleep on are announced anew. False: something is ready there.
bool EpollSet::resume_below(Registration& r) {
  stop_sleep_below(r);
  return !queue_.has_sleepers() || set_of(r).prepare_sleep(r.fd, r.sleep);
}

void EpollSet::stop_sleep_below(Registration& r) {
  if (r.sleep.process == 0) return;
  set_of(r).finish_sleep(r.sleep);
  set_of(r).pass_on();  // what was to wake threads of ours may have been for one that sleeps there
}

void EpollSet::settle_below(Registration& r) {
  if (r.sleep.process != 0) {
    resume_below(r);
  } else {
    client::Guard guard(set_of(r).mutex_);
    set_of(r).settle();
  }
}

// Caller holds the mutex. Takes what came to wake threads when none slept any more: who looks at E would be told of it again and again.
void EpollSet::settle() {
  if (queue_.has_sleepers()) return;
  queue_.drain();
  drain();
  for (auto& [fd, r] : registrations_)
    if (r->counted) settle_below(*r);
}

// What woke, or was to wake, a thread.
void EpollSet::drain() {
  uint64_t rung = 0;
  const int fd = __atomic_load_n(&alarm_, __ATOMIC_SEQ_CST);
  if (fd >= 0 && alarm_process_ == client::process_token()) ipc::raw_syscall(SYS_read, fd, ipc::arg(&rung), sizeof rung);
}

// Sleeps in E until something may be ready: number of events or -errno, 0 also if something is known to be ready.
int EpollSet::sleep_announced(Call call, int epfd, epoll_event* events, int capacity, const timespec* timeout, const sigset_t* mask, bool& quiet) {
  struct Announced {
    EpollSet& set;
    client::EventQueue::Sleep sleep{};
    bool returned = false;
    ~Announced() {
      const int saved_errno = errno;
      set.finish_sleep(sleep);
      if (!returned) set.pass_on();  // cancelled
      errno = saved_errno;
    }
  } announced{*this};
  {
    client::Guard guard(mutex_);
    quiet = announce(announced.sleep);
  }
  const int count = quiet ? call(epfd, events, capacity, timeout, mask) : 0;
  announced.returned = true;
  return count < 0 ? -errno : count;
}

// One thread of a set, and not while kernel descriptors of it are busy.
bool EpollSet::may_spin() const { return !kernel_busy_ && !queue_.has_sleepers(); }

void EpollSet::pass_on() {
  if (!queue_.has_sleepers()) return;
  client::Guard guard(mutex_);
  if (queue_.is_open()) collect();
  if (ready_count_ != 0) wake_sleepers();
}

}  // namespace ferry::preload

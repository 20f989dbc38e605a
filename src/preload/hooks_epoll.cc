// Interposes epoll_create(2), epoll_ctl(2) and epoll_wait(2) with their variants; epoll_set.h does the work.
#include <errno.h>

#include "preload/cancel.h"
#include "preload/epoll_set.h"
#include "preload/fd_table.h"
#include "preload/log.h"
#include "preload/real.h"
#include "preload/remaining_time.h"
#include "preload/socket_file.h"

namespace ferry::preload {
namespace {

// Gives a fresh kernel epoll instance its EpollSet. Without memory for it the descriptor is a plain kernel set.
int adopt(int epfd) {
  if (epfd < 0) return epfd;
  fd_table().forget_stale(epfd);
  if (FileRef<EpollSet> set = EpollSet::create()) fd_table().install(epfd, set.get());
  return epfd;
}

// The set behind `epfd`; one is made for an instance that we did not see being created, when a Ferry file is to be added.
FileRef<EpollSet> set_for(int epfd, int fd) {
  FileRef<EpollSet> set = epoll_set_of(epfd);
  if (set || !fd_table().contains(fd)) return set;
  if (fd_table().contains(epfd)) return set;  // a socket: not an epoll descriptor
  FERRY_LOG_DEBUG("epoll descriptor %d was created unseen", epfd);
  adopt(epfd);
  return epoll_set_of(epfd);
}

// libc's functions as EpollSet::Call.
int by_wait(int epfd, epoll_event* events, int capacity, const timespec* timeout, const sigset_t*) {
  return real().epoll_wait(epfd, events, capacity, to_milliseconds(timeout));
}
int by_pwait(int epfd, epoll_event* events, int capacity, const timespec* timeout, const sigset_t* mask) {
  return real().epoll_pwait(epfd, events, capacity, to_milliseconds(timeout), mask);
}
int by_pwait2(int epfd, epoll_event* events, int capacity, const timespec* timeout, const sigset_t* mask) {
  if (real().epoll_pwait2 == nullptr) return by_pwait(epfd, events, capacity, timeout, mask);
  return real().epoll_pwait2(epfd, events, capacity, timeout, mask);
}

int wait(EpollSet::Call call, int epfd, epoll_event* events, int capacity, const timespec* timeout, const sigset_t* mask) {
  FileRef<EpollSet> set = epoll_set_of(epfd);
  if (!set) return call(epfd, events, capacity, timeout, mask);
  cancellation_point();
  return static_cast<int>(to_libc(set->wait(call, epfd, events, capacity, timeout, mask)));
}

int wait_ms(EpollSet::Call call, int epfd, epoll_event* events, int capacity, int timeout_ms, const sigset_t* mask) {
  timespec timeout{timeout_ms / 1000, timeout_ms % 1000 * 1'000'000L};
  return wait(call, epfd, events, capacity, timeout_ms < 0 ? nullptr : &timeout, mask);
}

}  // namespace

FERRY_EXPORT int epoll_create(int size) noexcept { return adopt(real().epoll_create(size)); }
FERRY_EXPORT int epoll_create1(int flags) noexcept { return adopt(real().epoll_create1(flags)); }

FERRY_EXPORT int epoll_ctl(int epfd, int op, int fd, epoll_event* event) noexcept {
  FileRef<EpollSet> set = set_for(epfd, fd);
  if (set) return static_cast<int>(to_libc(set->control(epfd, op, fd, event)));
  return real().epoll_ctl(epfd, op, fd, event);
}

FERRY_EXPORT int epoll_wait(int epfd, epoll_event* events, int capacity, int timeout_ms) {
  return wait_ms(by_wait, epfd, events, capacity, timeout_ms, nullptr);
}

FERRY_EXPORT int epoll_pwait(int epfd, epoll_event* events, int capacity, int timeout_ms, const sigset_t* mask) {
  return wait_ms(by_pwait, epfd, events, capacity, timeout_ms, mask);
}

FERRY_EXPORT int epoll_pwait2(int epfd, epoll_event* events, int capacity, const timespec* timeout, const sigset_t* mask) {
  return wait(by_pwait2, epfd, events, capacity, timeout, mask);
}

}  // namespace ferry::preload

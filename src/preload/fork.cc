// Interposes fork, vfork, _Fork and daemon. vfork is fork: a child that borrowed our memory would change our table when it closes and
// dups, and a copy is always right. The child opens a channel of its own on first use (client/channel.h); its descriptors are
// the parent's, and the server moves a socket to whoever uses it.
#include "preload/fork.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "client/channel.h"
#include "client/critical.h"
#include "client/process.h"
#include "client/regions.h"
#include "client/stock.h"
#include "preload/epoll_set.h"
#include "preload/fd_table.h"
#include "preload/real.h"

namespace ferry::preload {

namespace {

// Registered before any of the program's, so that ours run next to the fork, also to those inside libc (forkpty): a program's may wait for
// threads that need the sets. Handlers of signals, which may need them as well, are put off. Who holds a set may ask for memory of a region.
void before_fork() {
  client::enter_critical();
  EpollSet::lock_all();
  client::Stock::before_fork();
  client::regions::before_fork();
}

void after_fork_in_parent() {
  client::regions::after_fork_in_parent();
  client::Stock::after_fork_in_parent();
  EpollSet::unlock_all();
  client::leave_critical();
}

// Locks that the parent held count as free here (client/mutex.h).
void after_fork_in_child() {
  const int saved_errno = errno;
  client::regions::after_fork_in_child();
  client::Stock::after_fork_in_child();
  client::Channel::after_fork_in_child();
  client::leave_critical();
  errno = saved_errno;
}

}  // namespace

pid_t fork_process() { return real().fork(); }

void before_clone(uint64_t flags) {
  if ((flags & (CLONE_VM | CLONE_VFORK)) == CLONE_VM) client::set_memory_shared();
  if ((flags & CLONE_FILES) == 0) client::Stock::before_clone();
}

void watch_forks() {
  pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

FERRY_EXPORT pid_t fork() noexcept { return fork_process(); }
FERRY_EXPORT pid_t vfork() noexcept { return fork_process(); }
FERRY_EXPORT pid_t _Fork() noexcept {
  if (real()._Fork == nullptr) return fork_process();
  before_fork();  // handlers of pthread_atfork do not run
  pid_t child = real()._Fork();
  child == 0 ? after_fork_in_child() : after_fork_in_parent();
  return child;
}

// libc's daemon() forks by an internal call; the same in steps that we see. daemon(3).
FERRY_EXPORT int daemon(int no_chdir, int no_close) noexcept {
  switch (fork_process()) {
    case -1: return -1;
    case 0: break;
    default: _exit(0);
  }
  if (setsid() == -1) return -1;
  if (no_chdir == 0 && chdir("/") != 0) return -1;
  if (no_close != 0) return 0;
  int null = real().open("/dev/null", O_RDWR);
  if (null < 0) return -1;
  for (int fd : {0, 1, 2}) {
    fd_table().remove(fd);
    if (real().dup2(null, fd) < 0) return -1;
  }
  if (null > 2) real().close(null);
  return 0;
}

}  // namespace ferry::preload

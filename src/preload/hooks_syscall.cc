// Interposes syscall(2), by which programs reach system calls without their libc functions (libuv sends datagrams so). Those that
// concern sockets, free or copy descriptors, wait, or start processes are led to the interposed functions; io_uring is refused, so
// that programs fall back to what Ferry serves.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "client/guarded_copy.h"
#include "client/regions.h"
#include "ipc/syscall.h"
#include "preload/cancel.h"
#include "preload/descriptor.h"
#include "preload/fd_table.h"
#include "preload/fork.h"
#include "preload/log.h"
#include "preload/real.h"
#include "preload/remaining_time.h"
#include "preload/sandbox.h"
#include "preload/signals.h"
#include "preload/socket_file.h"

namespace ferry::preload {
namespace {

template <typename T>
T* pointer(long value) { return reinterpret_cast<T*>(value); }

// The calls of the sockets API and what reads and writes descriptors: the libc function of the same name, which is ours. Those
// whose libc function has the kernel's arguments. False: another call.
bool call_interposed(long number, const long (&a)[6], long& result) {
  const int fd = static_cast<int>(a[0]);
  const int flags = static_cast<int>(a[3]);
  const auto size = static_cast<size_t>(a[2]);
  switch (number) {
    case SYS_socket: result = ::socket(fd, static_cast<int>(a[1]), static_cast<int>(a[2])); return true;
    case SYS_bind: result = ::bind(fd, pointer<const sockaddr>(a[1]), static_cast<socklen_t>(a[2])); return true;
    case SYS_connect: result = ::connect(fd, pointer<const sockaddr>(a[1]), static_cast<socklen_t>(a[2])); return true;
    case SYS_listen: result = ::listen(fd, static_cast<int>(a[1])); return true;
    case SYS_accept: result = ::accept(fd, pointer<sockaddr>(a[1]), pointer<socklen_t>(a[2])); return true;
    case SYS_accept4: result = ::accept4(fd, pointer<sockaddr>(a[1]), pointer<socklen_t>(a[2]), flags); return true;
    case SYS_shutdown: result = ::shutdown(fd, static_cast<int>(a[1])); return true;
    case SYS_getsockname: result = ::getsockname(fd, pointer<sockaddr>(a[1]), pointer<socklen_t>(a[2])); return true;
    case SYS_getpeername: result = ::getpeername(fd, pointer<sockaddr>(a[1]), pointer<socklen_t>(a[2])); return true;
    case SYS_setsockopt:
      result = ::setsockopt(fd, static_cast<int>(a[1]), static_cast<int>(a[2]), pointer<void>(a[3]), static_cast<socklen_t>(a[4]));
      return true;
    case SYS_getsockopt:
      result = ::getsockopt(fd, static_cast<int>(a[1]), static_cast<int>(a[2]), pointer<void>(a[3]), pointer<socklen_t>(a[4]));
      return true;
    case SYS_read: result = ::read(fd, pointer<void>(a[1]), size); return true;
    case SYS_write: result = ::write(fd, pointer<void>(a[1]), size); return true;
    case SYS_readv: result = ::readv(fd, pointer<iovec>(a[1]), static_cast<int>(a[2])); return true;
    case SYS_writev: result = ::writev(fd, pointer<iovec>(a[1]), static_cast<int>(a[2])); return true;
    case SYS_sendto:
      result = ::sendto(fd, pointer<void>(a[1]), size, flags, pointer<const sockaddr>(a[4]), static_cast<socklen_t>(a[5]));
      return true;
    case SYS_recvfrom:
      result = ::recvfrom(fd, pointer<void>(a[1]), size, flags, pointer<sockaddr>(a[4]), pointer<socklen_t>(a[5]));
      return true;
    case SYS_sendmsg: result = ::sendmsg(fd, pointer<msghdr>(a[1]), static_cast<int>(a[2])); return true;
    case SYS_recvmsg: result = ::recvmsg(fd, pointer<msghdr>(a[1]), static_cast<int>(a[2])); return true;
    case SYS_sendmmsg: result = ::sendmmsg(fd, pointer<mmsghdr>(a[1]), static_cast<unsigned>(a[2]), flags); return true;
    case SYS_recvmmsg:
      result = ::recvmmsg(fd, pointer<mmsghdr>(a[1]), static_cast<unsigned>(a[2]), flags, pointer<timespec>(a[4]));
      return true;
    case SYS_fcntl: result = ::fcntl(fd, static_cast<int>(a[1]), a[2]); return true;
    case SYS_ioctl: result = ::ioctl(fd, static_cast<unsigned long>(a[1]), a[2]); return true;
    case SYS_epoll_create1: result = ::epoll_create1(fd); return true;
    case SYS_epoll_ctl:
      result = ::epoll_ctl(fd, static_cast<int>(a[1]), static_cast<int>(a[2]), pointer<epoll_event>(a[3]));
      return true;
  }
  return false;
}

// Whether the kernel takes the size of that set.
bool is_set(long set, long size) { return set == 0 || size == kKernelSetSize; }

// `wait` is libc's function for a call in which the kernel writes back what is left of the time. False: the kernel is to say what is wrong.
template <typename Wait>
bool wait_and_tell(timespec* timeout, long& result, Wait wait) {
  if (timeout != nullptr && !client::is_readable(timeout, sizeof(*timeout))) return false;
  RemainingTime remaining(timeout);
  result = wait();
  const bool waited = result >= 0 || errno == EINTR;
  if (waited && timeout != nullptr && client::is_writable(timeout, sizeof(*timeout))) *timeout = *remaining.left();
  return true;
}

// As call_interposed(), of the calls that wait.
bool call_waiting(long number, const long (&a)[6], long& result) {
  const int fd = static_cast<int>(a[0]);
  const auto count = static_cast<int>(a[2]);
  auto* const events = pointer<epoll_event>(a[1]);
  auto* const fds = pointer<pollfd>(a[0]);
  auto* const mask = pointer<const sigset_t>(a[4]);
  switch (number) {
    case SYS_poll: result = ::poll(fds, static_cast<nfds_t>(a[1]), count); return true;
    case SYS_ppoll: {
      auto* const timeout = pointer<timespec>(a[2]);
      return is_set(a[3], a[4]) && wait_and_tell(timeout, result, [&] {
        return ::ppoll(fds, static_cast<nfds_t>(a[1]), timeout, pointer<const sigset_t>(a[3]));
      });
    }
    case SYS_select: {
      auto* const timeout = pointer<timeval>(a[4]);
      if (timeout != nullptr && !client::is_writable(timeout, sizeof(*timeout))) return false;
      result = ::select(fd, pointer<fd_set>(a[1]), pointer<fd_set>(a[2]), pointer<fd_set>(a[3]), timeout);
      return true;
    }
    case SYS_pselect6: {
      auto* const timeout = pointer<timespec>(a[4]);
      const long none[2] = {};
      const long* const set = a[5] != 0 ? pointer<const long>(a[5]) : none;  // a pointer and a size
      return client::is_readable(set, sizeof(none)) && is_set(set[0], set[1]) && wait_and_tell(timeout, result, [&] {
        return ::pselect(fd, pointer<fd_set>(a[1]), pointer<fd_set>(a[2]), pointer<fd_set>(a[3]), timeout, pointer<const sigset_t>(set[0]));
      });
    }
    case SYS_epoll_wait: result = ::epoll_wait(fd, events, count, static_cast<int>(a[3])); return true;
    case SYS_epoll_pwait:
      if (is_set(a[4], a[5])) return result = ::epoll_pwait(fd, events, count, static_cast<int>(a[3]), mask), true;
      break;
    case SYS_epoll_pwait2:
      if (is_set(a[4], a[5])) return result = ::epoll_pwait2(fd, events, count, pointer<const timespec>(a[3]), mask), true;
      break;
  }
  return false;
}

// A child that is made by a bare clone(2) and goes on where the parent does.
long clone_process(const long (&a)[6]) {
  client::regions::before_fork();
  const long child = ipc::raw_syscall(SYS_clone, a[0], a[1], a[2], a[3], a[4]);
  if (child == 0) client::regions::after_fork_in_child();
  else client::regions::after_fork_in_parent();
  return to_libc(child);
}

}  // namespace

FERRY_EXPORT long syscall(long number, ...) noexcept {
  va_list arguments;
  va_start(arguments, number);
  long a[6];
  for (long& value : a) value = va_arg(arguments, long);
  va_end(arguments);
  switch (number) {
    case SYS_close: {
      NotCancelled until_closed;
      return close_descriptor(static_cast<int>(a[0]));
    }
    case SYS_close_range:
      return close_descriptor_range(static_cast<unsigned>(a[0]), static_cast<unsigned>(a[1]), static_cast<int>(a[2]));
    case SYS_dup: return duplicate_descriptor(static_cast<int>(a[0]));
    case SYS_dup2: return replace_descriptor(static_cast<int>(a[0]), static_cast<int>(a[1]), 0, false);
    case SYS_dup3: return replace_descriptor(static_cast<int>(a[0]), static_cast<int>(a[1]), static_cast<int>(a[2]), true);
    case SYS_fork: case SYS_vfork: return fork_process();
    case SYS_clone:
      before_clone(static_cast<unsigned long>(a[0]));
      if ((a[0] & CLONE_VM) == 0 && a[1] == 0) return clone_process(a);
      break;
    case SYS_clone3:
      if (client::is_readable(pointer<void>(a[0]), sizeof(uint64_t))) before_clone(*pointer<uint64_t>(a[0]));
      break;
    case SYS_seccomp: before_sandbox(); break;
    case SYS_io_setup: client::set_memory_shared(); break;
    case SYS_io_uring_setup:
      FERRY_LOG_WARN("io_uring is not served (its system calls cannot be intercepted): refused with ENOSYS");
      return to_libc(-ENOSYS);
    case SYS_open: case SYS_openat: case SYS_eventfd2: case SYS_memfd_create: {
      long fd = to_libc(ipc::raw_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]));
      if (fd >= 0) fd_table().forget_stale(static_cast<int>(fd));
      return fd;
    }
  }
  NotCancelled until_done;
  long result = 0;
  if (call_interposed(number, a, result) || call_waiting(number, a, result)) return result;
  return real().syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

}  // namespace ferry::preload

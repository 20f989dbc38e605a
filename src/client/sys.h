// The system calls of client/ in which a thread can sleep or which act on a program's descriptor, as a table: libferry points it at
// functions of its own (real libc functions, cancellation points), tests at fakes. Everything else uses ipc/syscall.h directly.
// No function of client/ calls an interposed libc function or touches errno.
#pragma once

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include <cstdint>

namespace ferry::client {

// Results are >= 0 or -errno. The defaults are bare system calls.
struct Sys {
  long (*sendmsg)(int fd, const msghdr* message, int flags);
  long (*recvmsg)(int fd, msghdr* message, int flags);
  // One piece: read(2), write(2); more: readv(2), writev(2). K itself is blocking or not, as the program set it.
  long (*readv)(int fd, const iovec* pieces, int count);
  long (*writev)(int fd, const iovec* pieces, int count);
  long (*ppoll)(pollfd* fds, unsigned count, const timespec* timeout);
  // ipc::futex_wait: the sleep of every blocking call on a socket in shared mode. No lock is held during it, and leaving it by
  // cancellation (forced unwinding) is safe.
  long (*futex_wait)(const uint32_t* word, uint32_t expected, const timespec* timeout);
  // The same with a time-out, in slices of a wait that has none: -ETIMEDOUT after a handler with SA_RESTART, which would not end that.
  long (*futex_wait_slice)(const uint32_t* word, uint32_t expected, const timespec* timeout);
  // ipc::futex_wait_any: likewise. Other errors: the kernel, or a filter, does not let it be.
  long (*futex_wait_any)(const uint32_t* const* words, const uint32_t* expected, uint32_t count, const timespec* until);
};

// The table in use; change it before the first other call into client/.
Sys& sys();

}  // namespace ferry::client

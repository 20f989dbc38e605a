// Interposes syscall(2), by which programs reach system calls without their libc functions. Those that free or copy descriptors,
// wait, or start processes are led to the interposed functions; io_uring is refused, so that programs fall back to what Ferry serves.
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>

#include "ipc/syscall.h"
#include "preload/descriptor.h"
#include "preload/fd_table.h"
#include "preload/fork.h"
#include "preload/log.h"
#include "preload/real.h"
#include "preload/sandbox.h"
#include "preload/socket_file.h"

namespace ferry::preload {

FERRY_EXPORT long syscall(long number, ...) noexcept {
  va_list arguments;
  va_start(arguments, number);
  long a[6];
  for (long& value : a) value = va_arg(arguments, long);
  va_end(arguments);
  switch (number) {
    case SYS_close: return close_descriptor(static_cast<int>(a[0]));
    case SYS_close_range:
      return close_descriptor_range(static_cast<unsigned>(a[0]), static_cast<unsigned>(a[1]), static_cast<int>(a[2]));
    case SYS_dup: return duplicate_descriptor(static_cast<int>(a[0]));
    case SYS_dup2: return replace_descriptor(static_cast<int>(a[0]), static_cast<int>(a[1]), 0, false);
    case SYS_dup3: return replace_descriptor(static_cast<int>(a[0]), static_cast<int>(a[1]), static_cast<int>(a[2]), true);
    case SYS_fork: case SYS_vfork: return fork_process();
    case SYS_seccomp: before_sandbox(); break;
    case SYS_io_uring_setup:
      FERRY_LOG_WARN("io_uring is not served (its system calls cannot be intercepted): refused with ENOSYS");
      return to_libc(-ENOSYS);
    case SYS_open: case SYS_openat: case SYS_eventfd2: case SYS_memfd_create: {
      long fd = to_libc(ipc::raw_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]));
      if (fd >= 0) fd_table().forget_stale(static_cast<int>(fd));
      return fd;
    }
  }
  return real().syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

}  // namespace ferry::preload

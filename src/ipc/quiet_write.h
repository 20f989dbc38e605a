// write(2) to a pipe or stream that may have no reader any more, without SIGPIPE for the program.
#pragma once

#include <errno.h>
#include <time.h>

#include <cstddef>
#include <cstdint>

#include "ipc/signal_set.h"
#include "ipc/syscall.h"

namespace ferry::ipc {

// Bytes written, or -errno. All signals but faults are blocked meanwhile: in a critical section (client/critical.h) one that came would be put aside
// together with our mask, and the section would end with SIGPIPE blocked.
inline long write_quietly(int fd, const void* data, size_t length) {
  const uint64_t blocked = ~kFaultSignals, broken_pipe = bit_of(SIGPIPE);
  uint64_t before = 0, pending = 0;
  raw_syscall(SYS_rt_sigprocmask, SIG_BLOCK, arg(&blocked), arg(&before), sizeof before);
  raw_syscall(SYS_rt_sigpending, arg(&pending), sizeof pending);
  const long r = raw_syscall(SYS_write, fd, arg(data), static_cast<long>(length));
  if (r == -EPIPE && (pending & broken_pipe) == 0) {
    const timespec now{};
    raw_syscall(SYS_rt_sigtimedwait, arg(&broken_pipe), 0, arg(&now), sizeof broken_pipe);
  }
  raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, arg(&before), 0, sizeof before);
  return r;
}

}  // namespace ferry::ipc

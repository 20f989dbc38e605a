#include "client/sys.h"

#include "ipc/futex.h"
#include "ipc/syscall.h"

namespace ferry::client {
namespace {
using ipc::arg;
using ipc::raw_syscall;

long bare_sendmsg(int fd, const msghdr* message, int flags) { return raw_syscall(SYS_sendmsg, fd, arg(message), flags); }
long bare_recvmsg(int fd, msghdr* message, int flags) { return raw_syscall(SYS_recvmsg, fd, arg(message), flags); }
long bare_readv(int fd, const iovec* pieces, int count) {
  if (count == 1) return raw_syscall(SYS_read, fd, arg(pieces->iov_base), static_cast<long>(pieces->iov_len));
  return raw_syscall(SYS_readv, fd, arg(pieces), count);
}
long bare_writev(int fd, const iovec* pieces, int count) {
  if (count == 1) return raw_syscall(SYS_write, fd, arg(pieces->iov_base), static_cast<long>(pieces->iov_len));
  return raw_syscall(SYS_writev, fd, arg(pieces), count);
}
long bare_ppoll(pollfd* fds, unsigned count, const timespec* timeout) {
  timespec copy{};  // the system call writes the rest of the time back
  if (timeout != nullptr) copy = *timeout;
  return raw_syscall(SYS_ppoll, arg(fds), count, arg(timeout == nullptr ? nullptr : &copy));
}
long bare_futex_wait(const uint32_t* word, uint32_t expected, const timespec* timeout) {
  return ipc::futex_wait(*word, expected, timeout);
}

constinit Sys g_sys = {bare_sendmsg, bare_recvmsg, bare_readv, bare_writev, bare_ppoll, bare_futex_wait, bare_futex_wait,
                       ipc::futex_wait_any};
}  // namespace

Sys& sys() { return g_sys; }

}  // namespace ferry::client

// Interposes close, dup and fcntl with their relatives: everything that frees, copies or marks descriptor numbers.
// libferry's own descriptors (private_fds.h) are closed numbers to the program.
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <stdarg.h>

#include "ipc/syscall.h"
#include "preload/descriptor.h"
#include "preload/fd_table.h"
#include "preload/handover.h"
#include "preload/log.h"
#include "preload/private_fds.h"
#include "preload/real.h"
#include "preload/socket_file.h"

namespace ferry::preload {
namespace {

// `fresh` has just come to name what `file` is (null: nothing of ours).
int name_copy(int fresh, const FileRef<>& file) {
  if (fresh < 0) return fresh;
  if (!file) {
    fd_table().forget_stale(fresh);
    return fresh;
  }
  if (file->kind() == FileKind::socket) static_cast<SocketFile&>(*file).copied = true;
  if (!fd_table().install(fresh, file.get())) {
    real().close(fresh);
    errno = EMFILE;
    return -1;
  }
  return fresh;
}

// dup2 and dup3, which close `to` first.
int replace(int from, int to, int flags, bool three) {
  if (private_fds().contains(from)) return static_cast<int>(to_libc(-EBADF));
  if (private_fds().contains(to)) {
    FERRY_LOG_WARN("dup2(%d, %d): that number is libferry's own", from, to);
    return static_cast<int>(to_libc(-EBADF));
  }
  FileRef<> file = fd_table().get(from);
  // The number stops being ours before the kernel frees it; should the call fail, it is put back.
  FileRef<> old = from != to && ipc::raw_syscall(SYS_fcntl, from, F_GETFD) >= 0 ? fd_table().remove(to) : FileRef<>();
  int fresh = three ? real().dup3(from, to, flags) : real().dup2(from, to);
  if (fresh < 0) {
    if (old) fd_table().install(to, old.get());
    return fresh;
  }
  if (from == to) return fresh;
  if (name_copy(fresh, file) < 0) return -1;
  if (file && file->kind() == FileKind::socket) open_to_stdio(static_cast<SocketFile&>(*file), fresh);
  return fresh;
}

int close_numbers(unsigned first, unsigned last, int flags) {
  fd_table().for_each(first, last, [&](int fd, OpenFile*) {
    if ((flags & CLOSE_RANGE_CLOEXEC) == 0) fd_table().remove(fd);
  });
  // Around our own descriptors, piece by piece.
  int result = 0;
  for (;;) {
    int mine = private_fds().next(first, last);
    unsigned end = mine < 0 ? last : static_cast<unsigned>(mine) - 1;
    if (mine < 0 || static_cast<unsigned>(mine) > first) {
      long error = ipc::raw_syscall(SYS_close_range, first, end, flags);
      if (error != 0 && result == 0) result = static_cast<int>(error);
    }
    if (mine < 0 || static_cast<unsigned>(mine) == last) return result;
    first = static_cast<unsigned>(mine) + 1;
  }
}

int control(int fd, int command, void* argument, decltype(&::fcntl) libc_fcntl) {
  if (private_fds().contains(fd)) return static_cast<int>(to_libc(-EBADF));
  if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) {
    FileRef<> file = fd_table().get(fd);
    return name_copy(libc_fcntl(fd, command, argument), file);
  }
  int result = libc_fcntl(fd, command, argument);
  if (result < 0 || command == F_GETFL || command == F_GETFD || command == F_SETFD) return result;
  FileRef<SocketFile> file = socket_of(fd);
  if (!file) return result;
  const auto number = static_cast<int>(reinterpret_cast<intptr_t>(argument));
  if (command != F_SETFL || (number & ~(O_NONBLOCK | O_ACCMODE)) != 0) file->copied = true;
  if (command == F_SETFL) file->nonblocking = (number & O_NONBLOCK) != 0;
  if (command == F_SETOWN) file->socket.set_owner(fd, number);
  return result;
}

}  // namespace

int close_descriptor(int fd) {
  if (private_fds().contains(fd)) return static_cast<int>(to_libc(-EBADF));
  FileRef<> file = fd_table().remove(fd);
  client::Socket::CloseBell bell;
  if (file && file->kind() == FileKind::socket && file->names() == 0) {
    auto& socket = static_cast<SocketFile&>(*file);
    bell = socket.socket.close_bell(fd, !socket.copied, socket.nonblocking);
  }
  file.reset();
  const int result = real().close(fd);
  bell.ring();
  return result;
}

int close_descriptor_range(unsigned first, unsigned last, int flags) {
  if (first > last || (flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)) != 0) return static_cast<int>(to_libc(-EINVAL));
  return static_cast<int>(to_libc(close_numbers(first, last, flags)));
}

int duplicate_descriptor(int fd) {
  if (private_fds().contains(fd)) return static_cast<int>(to_libc(-EBADF));
  FileRef<> file = fd_table().get(fd);
  return name_copy(real().dup(fd), file);
}

int replace_descriptor(int from, int to, int flags, bool three) { return replace(from, to, flags, three); }

FERRY_EXPORT int close(int fd) { return close_descriptor(fd); }
FERRY_EXPORT int dup(int fd) noexcept { return duplicate_descriptor(fd); }
FERRY_EXPORT int dup2(int from, int to) noexcept { return replace(from, to, 0, false); }
FERRY_EXPORT int dup3(int from, int to, int flags) noexcept { return replace(from, to, flags, true); }

FERRY_EXPORT int close_range(unsigned first, unsigned last, int flags) noexcept {
  return close_descriptor_range(first, last, flags);
}
FERRY_EXPORT void closefrom(int first) noexcept { close_numbers(first < 0 ? 0 : static_cast<unsigned>(first), ~0u, 0); }

FERRY_EXPORT int fcntl(int fd, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  return control(fd, command, argument, real().fcntl);
}
FERRY_EXPORT int fcntl64(int fd, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  return control(fd, command, argument, real().fcntl64);
}

}  // namespace ferry::preload

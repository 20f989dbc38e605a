// Interposes the doors between stdio and descriptors. Behind fdopen, libc reads and writes by internal calls that nobody can
// intercept: the socket goes to kernel mode first, and stays there, so that bytes of both paths keep the program's order.
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "preload/exec_environment.h"
#include "preload/fd_table.h"
#include "preload/fork.h"
#include "preload/handover.h"
#include "preload/private_fds.h"
#include "preload/real.h"
#include "preload/socket_file.h"

namespace ferry::preload {
namespace {

// False: errno is set, and the socket cannot be used by stdio (a listener).
bool give_to_stdio(int fd, const char* function) {
  FileRef<SocketFile> file = socket_of(fd);
  if (!file) return true;
  if (int error = demote(*file, fd, function); error != 0) {
    errno = -error;
    return false;
  }
  return true;
}

int print(int fd, const char* format, va_list arguments) {
  if (!give_to_stdio(fd, "dprintf")) return -1;
  return real().vdprintf(fd, format, arguments);
}

// A stream's descriptor is about to be closed inside libc.
int number_of(FILE* stream) {
  int saved_errno = errno;
  int fd = stream != nullptr ? fileno(stream) : -1;
  errno = saved_errno;
  return fd;
}

}  // namespace

FERRY_EXPORT FILE* fdopen(int fd, const char* mode) noexcept {
  if (private_fds().contains(fd)) return errno = EBADF, nullptr;
  return give_to_stdio(fd, "fdopen") ? real().fdopen(fd, mode) : nullptr;
}

FERRY_EXPORT int fclose(FILE* stream) {
  int fd = number_of(stream);
  if (fd < 0 || !fd_table().contains(fd)) return real().fclose(stream);
  // The stream may have bytes to flush, and they go over K, which is alive until libc closes it.
  fd_table().remove(fd).reset();
  return real().fclose(stream);
}

FERRY_EXPORT FILE* freopen(const char* path, const char* mode, FILE* stream) {
  if (int fd = number_of(stream); fd >= 0) fd_table().remove(fd);
  FILE* result = real().freopen(path, mode, stream);
  if (result != nullptr) fd_table().forget_stale(number_of(result));
  return result;
}
FERRY_EXPORT FILE* freopen64(const char* path, const char* mode, FILE* stream) {
  if (int fd = number_of(stream); fd >= 0) fd_table().remove(fd);
  FILE* result = real().freopen64(path, mode, stream);
  if (result != nullptr) fd_table().forget_stale(number_of(result));
  return result;
}

FERRY_EXPORT int vdprintf(int fd, const char* format, va_list arguments) { return print(fd, format, arguments); }
FERRY_EXPORT int dprintf(int fd, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int result = print(fd, format, arguments);
  va_end(arguments);
  return result;
}
FERRY_EXPORT int __vdprintf_chk(int fd, int flag, const char* format, va_list arguments) {
  if (!give_to_stdio(fd, "dprintf")) return -1;
  return real().__vdprintf_chk(fd, flag, format, arguments);
}
FERRY_EXPORT int __dprintf_chk(int fd, int flag, const char* format, ...) {
  if (!give_to_stdio(fd, "dprintf")) return -1;
  va_list arguments;
  va_start(arguments, format);
  int result = real().__vdprintf_chk(fd, flag, format, arguments);
  va_end(arguments);
  return result;
}

FERRY_EXPORT FILE* popen(const char* command, const char* mode) {
  restore_own_environment();
  const UnseenCopies copies;
  FILE* result = real().popen(command, mode);
  if (result != nullptr) fd_table().forget_stale(number_of(result));
  return result;
}

FERRY_EXPORT int system(const char* command) {
  restore_own_environment();
  const UnseenCopies copies;
  return real().system(command);
}

}  // namespace ferry::preload

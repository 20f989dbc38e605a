// Interposes what makes new descriptors, for one reason: a number that the kernel hands out is none of ours any more, even if it was
// freed by a way that libferry did not see (fd_table.h). Costs one look into the table.
#include <fcntl.h>
#include <stdarg.h>

#include "preload/fd_table.h"
#include "preload/real.h"

namespace ferry::preload {
namespace {

int fresh(int fd) {
  if (fd >= 0) fd_table().forget_stale(fd);
  return fd;
}

int fresh_pair(int result, const int* fds) {
  if (result == 0) {
    fd_table().forget_stale(fds[0]);
    fd_table().forget_stale(fds[1]);
  }
  return result;
}

FILE* fresh(FILE* file) {
  if (file != nullptr) fresh(fileno(file));
  return file;
}

}  // namespace

#define FERRY_MODE_ARGUMENT(mode, flags)                     \
  mode_t mode = 0;                                           \
  if (((flags) & O_CREAT) != 0 || ((flags) & O_TMPFILE) == O_TMPFILE) { \
    va_list arguments;                                       \
    va_start(arguments, flags);                              \
    mode = va_arg(arguments, mode_t);                        \
    va_end(arguments);                                       \
  }

FERRY_EXPORT int open(const char* path, int flags, ...) {
  FERRY_MODE_ARGUMENT(mode, flags)
  return fresh(real().open(path, flags, mode));
}
FERRY_EXPORT int open64(const char* path, int flags, ...) {
  FERRY_MODE_ARGUMENT(mode, flags)
  return fresh(real().open64(path, flags, mode));
}
FERRY_EXPORT int openat(int directory, const char* path, int flags, ...) {
  FERRY_MODE_ARGUMENT(mode, flags)
  return fresh(real().openat(directory, path, flags, mode));
}
FERRY_EXPORT int openat64(int directory, const char* path, int flags, ...) {
  FERRY_MODE_ARGUMENT(mode, flags)
  return fresh(real().openat64(directory, path, flags, mode));
}
FERRY_EXPORT int creat(const char* path, mode_t mode) { return fresh(real().creat(path, mode)); }
FERRY_EXPORT int creat64(const char* path, mode_t mode) { return fresh(real().creat64(path, mode)); }

FERRY_EXPORT int pipe(int fds[2]) noexcept { return fresh_pair(real().pipe(fds), fds); }
FERRY_EXPORT int pipe2(int fds[2], int flags) noexcept { return fresh_pair(real().pipe2(fds, flags), fds); }
FERRY_EXPORT int socketpair(int family, int type, int protocol, int fds[2]) noexcept {
  return fresh_pair(real().socketpair(family, type, protocol, fds), fds);
}
FERRY_EXPORT int eventfd(unsigned count, int flags) noexcept { return fresh(real().eventfd(count, flags)); }
FERRY_EXPORT int timerfd_create(clockid_t clock, int flags) noexcept { return fresh(real().timerfd_create(clock, flags)); }
FERRY_EXPORT int signalfd(int fd, const sigset_t* mask, int flags) noexcept {
  int result = real().signalfd(fd, mask, flags);
  return fd == -1 ? fresh(result) : result;
}
FERRY_EXPORT int inotify_init() noexcept { return fresh(real().inotify_init()); }
FERRY_EXPORT int inotify_init1(int flags) noexcept { return fresh(real().inotify_init1(flags)); }
FERRY_EXPORT int memfd_create(const char* name, unsigned flags) noexcept { return fresh(real().memfd_create(name, flags)); }

FERRY_EXPORT FILE* fopen(const char* path, const char* mode) { return fresh(real().fopen(path, mode)); }
FERRY_EXPORT FILE* fopen64(const char* path, const char* mode) { return fresh(real().fopen64(path, mode)); }

}  // namespace ferry::preload

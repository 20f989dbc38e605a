// Interposes ioctl for Ferry sockets. tcp(7), udp(7), socket(7), netdevice(7).
#include <errno.h>
#include <linux/sockios.h>
#include <stdarg.h>
#include <sys/ioctl.h>

#include "client/guarded_copy.h"
#include "preload/interfaces.h"
#include "preload/io.h"
#include "preload/private_fds.h"
#include "preload/real.h"
#include "preload/socket_file.h"

namespace ferry::preload {
namespace {

// The program's number may lie at any address.
int store(int result, void* argument) {
  if (result < 0) return result;
  return client::guarded_copy(argument, &result, sizeof(result)) ? 0 : -EFAULT;
}

// 1: K itself is to be asked.
int ferry_ioctl(SocketFile& file, int fd, unsigned long request, void* argument) {
  int number = 0;
  switch (request) {
    case FIONREAD: return store(file.socket.bytes_available(fd), argument);
    case SIOCOUTQ: return store(file.socket.bytes_unsent(fd), argument);
    case SIOCATMARK: return store(file.socket.at_mark(fd), argument);
    case FIONBIO:
      if (!client::guarded_copy(&number, argument, sizeof(number))) return -EFAULT;
      file.nonblocking = number != 0;
      return 1;
    case FIOASYNC: file.copied = true; return 1;
    case FIOSETOWN: case SIOCSPGRP:
      if (!client::guarded_copy(&number, argument, sizeof(number))) return -EFAULT;
      file.copied = true;
      return file.socket.set_owner(fd, number);
  }
  return is_interface_ioctl(request) ? interface_ioctl(request, argument) : 1;
}

}  // namespace

FERRY_EXPORT int ioctl(int fd, unsigned long request, ...) noexcept {
  va_list arguments;
  va_start(arguments, request);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  if (private_fds().contains(fd)) return static_cast<int>(to_libc(-EBADF));
  FileRef<SocketFile> file = socket_of(fd);
  if (!file) return real().ioctl(fd, request, argument);
  int result = ferry_ioctl(*file, fd, request, argument);
  if (result == 1 || is_stale(*file, fd, result)) return real().ioctl(fd, request, argument);
  return static_cast<int>(to_libc(result));
}

}  // namespace ferry::preload

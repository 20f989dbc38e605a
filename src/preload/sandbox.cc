// Owns what happens before prctl(PR_SET_SECCOMP), seccomp(2) and chroot(2) (sandbox.h).
#include "preload/sandbox.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/prctl.h>

#include "client/channel.h"
#include "client/process.h"
#include "client/regions.h"
#include "preload/fd_table.h"
#include "preload/handover.h"
#include "preload/netlink.h"
#include "preload/real.h"
#include "preload/socket_file.h"

namespace ferry::preload {
namespace {

template <typename Visit>
void for_each_socket(Visit visit) {
  int saved_errno = errno;
  fd_table().for_each([&](int fd, OpenFile* file) {
    if (file->kind() != FileKind::socket) return;
    if (FileRef<SocketFile> socket = socket_of(fd)) visit(fd, *socket);
  });
  errno = saved_errno;
}

}  // namespace

void before_sandbox() {
  abandon_netlink();
  client::set_confined(true);
  client::regions::disable("a seccomp filter is about to be set");  // it may kill for mmap or memfd_create
  for_each_socket([](int fd, SocketFile& file) {
    if (file.type == SOCK_STREAM && !file.socket.is_listener()) demote(file, fd, "a seccomp filter is about to be set");
  });
}

void before_chroot() {
  for_each_socket([](int fd, SocketFile& file) {
    if (file.in_kernel_mode(fd) || file.type != SOCK_STREAM || file.socket.is_listener() || !file.is_connected(fd)) return;
    demote(file, fd, "children made behind chroot cannot reach ferryd");
  });
}

FERRY_EXPORT int prctl(int option, ...) noexcept {
  va_list arguments;
  va_start(arguments, option);
  unsigned long a[4];
  for (unsigned long& value : a) value = va_arg(arguments, unsigned long);
  va_end(arguments);
  if (option == PR_SET_SECCOMP) before_sandbox();
  return real().prctl(option, a[0], a[1], a[2], a[3]);
}

FERRY_EXPORT int chroot(const char* path) noexcept {
  before_chroot();
  return real().chroot(path);
}

}  // namespace ferry::preload

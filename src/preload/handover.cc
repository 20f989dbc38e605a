// Owns hand-over and demotion (handover.h; DESIGN, "a socket is in one mode at a time").
#include "preload/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "ipc/syscall.h"
#include "preload/epoll_set.h"
#include "preload/log.h"
#include "preload/private_fds.h"
#include "preload/real.h"

namespace ferry::preload {
namespace {

// Binds the kernel socket where the Ferry socket was bound: the same port on the kernel's addresses.
int replay_bind(SocketFile& file, int fd, int kernel_fd) {
  if (!file.bound) return 0;
  client::Address local{};
  if (int error = file.socket.local_address(fd, local); error != 0) return error;
  if (!client::is_unspecified(local)) return -EADDRNOTAVAIL;  // an address of Ferry's is none of the kernel's
  sockaddr_storage address{};
  socklen_t length = client::write_address(local, file.v6(), &address, sizeof(address));
  file.release_reserved_twin();
  file.socket.disconnect(fd);
  return static_cast<int>(ipc::raw_syscall(SYS_bind, kernel_fd, ipc::arg(&address), length));
}

}  // namespace

int hand_over(SocketFile& file, int fd, const char* reason) {
  if (file.used && file.type == SOCK_STREAM && file.socket.is_listener()) return -EINVAL;
  FERRY_LOG_INFO("socket %d goes to the kernel: %s", fd, reason);
  long fresh = ipc::raw_syscall(SYS_socket, file.family, file.type | SOCK_CLOEXEC, file.protocol());
  if (fresh < 0) return static_cast<int>(fresh);
  const int kernel_fd = static_cast<int>(fresh);
  for (const RecordedOption& option : file.recorded_options())
    ipc::raw_syscall(SYS_setsockopt, kernel_fd, option.level, option.name, ipc::arg(option.value), option.length);
  if (int error = replay_bind(file, fd, kernel_fd); error != 0) {
    ipc::raw_syscall(SYS_close, kernel_fd);
    return error;
  }
  if (file.nonblocking) ipc::raw_syscall(SYS_fcntl, kernel_fd, F_SETFL, O_RDWR | O_NONBLOCK);
  fd_table().for_each([&](int number, OpenFile* other) {
    if (other != &file) return;
    long flags = ipc::raw_syscall(SYS_fcntl, number, F_GETFD);
    int cloexec = flags >= 0 && (flags & FD_CLOEXEC) != 0 ? O_CLOEXEC : 0;
    ipc::raw_syscall(SYS_dup3, kernel_fd, number, cloexec);
  });
  ipc::raw_syscall(SYS_close, kernel_fd);
  for (EpollSet* set : file.watchers()) set->give_away(file);
  fd_table().for_each([&](int number, OpenFile* other) {
    if (other == &file) fd_table().remove(number);
  });
  return 0;
}

int demote(SocketFile& file, int fd, const char* reason) {
  if (!file.in_kernel_mode(fd)) {
    FERRY_LOG_INFO("socket %d goes to kernel mode: %s", fd, reason);
    if (int error = file.socket.demote(fd); error != 0) {
      FERRY_LOG_WARN("socket %d cannot go to kernel mode (%s): %s", fd, reason, strerror(-error));
      return error;
    }
  }
  if (file.type == SOCK_STREAM && !file.socket.is_listener()) file.native = true;
  if (!file.socket.is_listener())
    for (EpollSet* set : file.watchers()) set->hand_to_kernel(file);
  return 0;
}

void open_to_stdio(SocketFile& file, int fd) {
  if (fd > STDERR_FILENO || file.socket.is_listener()) return;
  if (file.type == SOCK_DGRAM && !file.is_connected(fd)) return;
  demote(file, fd, "standard input or output, which stdio uses unseen");
}

}  // namespace ferry::preload

// Owns the passing of Ferry sockets over AF_UNIX (rights.h). The receiver with libferry attaches to K; one without uses K itself.
#include "preload/rights.h"

#include <stdio.h>
#include <string.h>

#include "client/guarded_copy.h"
#include "ipc/owned_fd.h"
#include "preload/control_messages.h"
#include "preload/exec_environment.h"
#include "preload/fd_table.h"
#include "preload/handover.h"
#include "preload/inherited.h"
#include "preload/socket_file.h"

namespace ferry::preload {
namespace {

// What is wrong with the messages is for the kernel to say.
template <typename Visit>
void for_each_right(const msghdr& message, Visit visit) {
  if (!client::is_readable(message.msg_control, message.msg_controllen)) return;
  (void)for_each_control(message, [&](const cmsghdr& header, const char* data, size_t size) {
    if (header.cmsg_level != SOL_SOCKET || header.cmsg_type != SCM_RIGHTS) return 0;
    for (size_t i = 0; i < size / sizeof(int); ++i) {
      int fd = -1;
      memcpy(&fd, data + i * sizeof(int), sizeof(fd));
      visit(fd);
    }
    return 0;
  });
}

// Whether the process at the other end of a connected AF_UNIX socket has libferry mapped: proc(5), maps. A socket pair names its
// creator, who has libferry if we have it; the child that inherited the other end has it by the same way (fork, or our exec).
bool peer_has_ferry(int fd) {
  ucred peer{};
  socklen_t length = sizeof(peer);
  if (ipc::raw_syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, ipc::arg(&peer), ipc::arg(&length)) != 0 || peer.pid <= 0)
    return false;
  if (peer.pid == ipc::raw_syscall(SYS_getpid)) return true;
  char path[40];
  snprintf(path, sizeof(path), "/proc/%d/maps", peer.pid);
  ipc::OwnedFd maps(static_cast<int>(ipc::raw_syscall(SYS_openat, -100, ipc::arg(path), 02000000)));
  if (!maps.valid()) return false;
  const char* base = strrchr(library_path().c_str(), '/');
  const char* wanted = base != nullptr ? base : "/libferry.so";
  char buffer[8192];
  size_t kept = 0;
  for (;;) {
    long size = ipc::raw_syscall(SYS_read, maps.get(), ipc::arg(buffer + kept), static_cast<long>(sizeof(buffer) - kept));
    if (size <= 0) return false;
    size_t total = kept + static_cast<size_t>(size);
    if (memmem(buffer, total, wanted, strlen(wanted)) != nullptr) return true;
    kept = total < 64 ? total : 64;  // the name may lie across two reads
    memmove(buffer, buffer + total - kept, kept);
  }
}

}  // namespace

void before_sending_rights(int fd, const msghdr& message) {
  bool asked = false, has_ferry = false;
  for_each_right(message, [&](int passed) {
    FileRef<SocketFile> file = socket_of(passed);
    if (!file) return;
    file->copied = true;
    if (!asked) has_ferry = peer_has_ferry(fd);
    asked = true;
    if (!has_ferry) demote(*file, passed, "it is passed to a process without libferry");
  });
}

void after_receiving_rights(msghdr& message) {
  for_each_right(message, [](int fd) {
    fd_table().forget_stale(fd);
    adopt_if_ferry(fd);
  });
}

}  // namespace ferry::preload

// Owns the look at the receiver of rights (rights_receiver.h): unix(7), SO_PEERCRED; proc(5), maps, root, children.
#include "preload/rights_receiver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "ipc/owned_fd.h"
#include "preload/exec_environment.h"
#include "preload/proc_directory.h"

namespace ferry::preload {
namespace {

bool has_ferry_mapped(int pid) {
  char path[40];
  snprintf(path, sizeof(path), "/proc/%d/maps", pid);
  ipc::OwnedFd maps(static_cast<int>(ipc::raw_syscall(SYS_openat, AT_FDCWD, ipc::arg(path), O_RDONLY | O_CLOEXEC)));
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

// Whether `pid` has not the root directory `mine`, or may not be asked. A process that has ended has none.
bool has_another_root(int pid, const struct stat& mine) {
  char path[40];
  snprintf(path, sizeof(path), "/proc/%d/root/.", pid);
  struct stat its;
  long error = ipc::raw_syscall(SYS_newfstatat, AT_FDCWD, ipc::arg(path), ipc::arg(&its), 0);
  if (error == -ENOENT || error == -ESRCH) return false;
  return error != 0 || mine.st_dev != its.st_dev || mine.st_ino != its.st_ino;
}

// The first few hundred children of one thread.
bool has_child_behind_another_root(int thread, const struct stat& mine) {
  char path[64], list[4096];
  snprintf(path, sizeof(path), "/proc/self/task/%d/children", thread);
  ipc::OwnedFd children(static_cast<int>(ipc::raw_syscall(SYS_openat, AT_FDCWD, ipc::arg(path), O_RDONLY | O_CLOEXEC)));
  if (!children.valid()) return false;
  long size = ipc::raw_syscall(SYS_read, children.get(), ipc::arg(list), sizeof(list) - 1);
  if (size <= 0) return false;
  list[size] = '\0';
  char* end = list;
  for (char* at = list; strchr(at, ' ') != nullptr; at = end + 1) {  // each number has a space behind it
    const long pid = strtol(at, &end, 10);
    if (end == at || *end != ' ') return false;
    if (has_another_root(static_cast<int>(pid), mine)) return true;
  }
  return false;
}

bool has_child_behind_another_root(const struct stat& mine) {
  bool found = false;
  for_each_number_in("/proc/self/task", [&](int thread, int) { found = found || has_child_behind_another_root(thread, mine); });
  return found;
}

}  // namespace

Receiver receiver_behind(int fd) {
  ucred peer{};
  socklen_t length = sizeof(peer);
  if (ipc::raw_syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, ipc::arg(&peer), ipc::arg(&length)) != 0 || peer.pid <= 0)
    return Receiver::without_ferry;
  // A socket pair names its creator. The child that inherited the other end has libferry by the same way (fork, or our exec), but which of
  // the children it is cannot be told.
  const bool pair = peer.pid == ipc::raw_syscall(SYS_getpid);
  if (!pair && !has_ferry_mapped(peer.pid)) return Receiver::without_ferry;
  struct stat mine;
  if (ipc::raw_syscall(SYS_newfstatat, AT_FDCWD, ipc::arg("/"), ipc::arg(&mine), 0) != 0) return Receiver::out_of_reach;
  return (pair ? has_child_behind_another_root(mine) : has_another_root(peer.pid, mine)) ? Receiver::out_of_reach : Receiver::attaches;
}

}  // namespace ferry::preload

// Owns the recognition of Ferry sockets behind unknown numbers (inherited.h): an AF_UNIX socket whose peer, by the kernel's word,
// is ferryd, proved by attaching to it.
#include "preload/inherited.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "client/channel.h"
#include "preload/handover.h"
#include "preload/log.h"
#include "preload/private_fds.h"
#include "preload/proc_directory.h"
#include "preload/socket_file.h"

namespace ferry::preload {
namespace {

// A number of this process that names the same K already, so that dups share one description.
FileRef<> find_twin(const client::Socket* twin) {
  FileRef<> found;
  fd_table().for_each([&](int fd, OpenFile* file) {
    if (found || file->kind() != FileKind::socket) return;
    if (&static_cast<SocketFile*>(file)->socket == twin) found = fd_table().get(fd);
  });
  return found;
}

void warn_unusable(int fd, int error) {
  if (client::is_without_server(error))
    FERRY_LOG_WARN("descriptor %d is a Ferry socket that cannot be used: this process cannot reach ferryd at %s (after chroot it must be inside)",
                   fd, client::Channel::config().path.c_str());
  else
    FERRY_LOG_WARN("descriptor %d came from ferryd but cannot be used: %s", fd, strerror(-error));
}

}  // namespace

bool adopt_if_ferry(int fd) {
  if (fd_table().contains(fd) || private_fds().contains(fd) || !client::looks_like_ferry(fd)) return false;
  FileRef<SocketFile> file = SocketFile::create(AF_INET, SOCK_STREAM);
  if (!file) return false;
  client::Socket* twin = nullptr;
  int error = file->socket.attach(fd, &twin);
  if (error == -EEXIST && twin != nullptr) {
    FileRef<> known = find_twin(twin);
    if (!known) return false;
    if (known->kind() == FileKind::socket) static_cast<SocketFile&>(*known).copied = true;
    return fd_table().install(fd, known.get());
  }
  if (error != 0) {
    warn_unusable(fd, error);
    return false;
  }
  file->family = file->socket.v6() ? AF_INET6 : AF_INET;
  file->type = file->socket.is_stream() ? SOCK_STREAM : file->socket.has_many_peers() ? SOCK_SEQPACKET : SOCK_DGRAM;
  file->nonblocking = (ipc::raw_syscall(SYS_fcntl, fd, F_GETFL) & O_NONBLOCK) != 0;
  file->used = true;
  file->bound_any = false;
  file->remember_identity(fd);
  FERRY_LOG_DEBUG("descriptor %d is a Ferry socket that was handed to this process", fd);
  return fd_table().install(fd, file.get());
}

void adopt_inherited() {
  for_each_number_in("/proc/self/fd", [](int fd, int directory) {  // in their order, so that what we open meanwhile does no harm
    int domain = 0;
    socklen_t length = sizeof(domain);
    if (fd == directory || ipc::raw_syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, ipc::arg(&domain), ipc::arg(&length)) != 0) return;
    if (domain != AF_UNIX || !adopt_if_ferry(fd)) return;
    if (FileRef<SocketFile> file = socket_of(fd)) open_to_stdio(*file, fd);
  });
}

}  // namespace ferry::preload

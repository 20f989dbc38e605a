// Interposes the calls that make, name and connect sockets: socket, bind, listen, accept, connect, shutdown, getsockname,
// getpeername. Which sockets are Ferry's is decided here and in destinations.h; docs/compatibility.md states the rules.
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "client/channel.h"
#include "client/guarded_copy.h"
#include "preload/cancel.h"
#include "preload/destinations.h"
#include "preload/handover.h"
#include "preload/hooks_socket.h"
#include "preload/log.h"
#include "preload/loopback_twin.h"
#include "preload/netlink.h"
#include "preload/poll.h"
#include "preload/process.h"
#include "preload/real.h"
#include "preload/signals.h"
#include "preload/socket_file.h"

namespace ferry::preload {

int install_socket(SocketFile& file, int k, bool nonblocking) {
  file.nonblocking = nonblocking;
  file.remember_identity(k);
  if (fd_table().install(k, &file)) return k;
  file.socket.close();
  real().close(k);
  return -EMFILE;
}

namespace {

constexpr int kTypeFlags = SOCK_NONBLOCK | SOCK_CLOEXEC;

// The kind of Ferry socket for a socket() call, or nothing (with a logged reason unless the family is none of ours).
bool kind_of(int domain, int type, int protocol, client::SocketKind& kind) {
  if (domain != AF_INET && domain != AF_INET6) return false;
  if (type == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP)) return kind = ipc::abi::kKindTcp, true;
  if (type == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP)) return kind = ipc::abi::kKindUdp, true;
  if (type == SOCK_STREAM && protocol == IPPROTO_SCTP) return kind = ipc::abi::kKindMessage, true;
  if (type == SOCK_SEQPACKET && (protocol == 0 || protocol == IPPROTO_SCTP)) return kind = ipc::abi::kKindMessages, true;
  FERRY_LOG_WARN("socket(family %d, type %d, protocol %d) is not served by Ferry: kernel socket", domain, type, protocol);
  return false;
}

int open_ferry(int domain, int type, client::SocketKind kind) {
  FileRef<SocketFile> file = SocketFile::create(domain, type & ~kTypeFlags);
  if (!file) return -ENOMEM;
  const bool nonblocking = (type & SOCK_NONBLOCK) != 0;
  int k = file->socket.open(kind, domain == AF_INET6, nonblocking, (type & SOCK_CLOEXEC) != 0);
  if (k < 0) {
    report_open_failure(k);
    return client::is_without_server(k) ? -ENETDOWN : k;
  }
  return install_socket(*file, k, nonblocking);
}

// A connection for accept(2) from Ferry, or -errno.
int accept_ferry(SocketFile& listener, int fd, bool nonblocking, int flags, client::Address* remote) {
  FileRef<SocketFile> child = SocketFile::create(listener.family, listener.type);
  if (!child) return -ENOMEM;
  int k = listener.socket.accept(fd, child->socket, nonblocking, (flags & SOCK_NONBLOCK) != 0, (flags & SOCK_CLOEXEC) != 0,
                                 remote);
  if (k < 0) return k;
  child->used = true;
  child->v6_only = listener.v6_only.load();
  return install_socket(*child, k, (flags & SOCK_NONBLOCK) != 0);
}

// A listener that has a twin on the kernel's loopback: whichever has a connection.
int accept_either(SocketFile& listener, int fd, int flags, client::Address* remote, sockaddr* address, socklen_t* length) {
  for (;;) {
    int k = accept_ferry(listener, fd, true, flags, remote);
    if (k != -EAGAIN) return k;
    k = static_cast<int>(ipc::raw_syscall(SYS_accept4, listener.twin.load(), ipc::arg(address), ipc::arg(length), flags));
    if (k >= 0) {
      fd_table().forget_stale(k);
      remote->port = 0;
      remote->reserved = 1;  // the kernel has written the address
      return k;
    }
    if (k != -EAGAIN || listener.nonblocking) return k;
    timespec limit{};
    const timespec* timeout = receive_timeout(listener, fd, limit);
    pollfd p{fd, POLLIN, 0};
    const HandlersRun before = handlers_run();
    int ready = poll_files(&p, 1, timeout, nullptr);
    if (ready < 0 && errno == EINTR && timeout == nullptr && restarts(before)) continue;
    if (ready < 0) return -errno;
    if (ready == 0) return -EAGAIN;
  }
}

// An address that the program gives: move_addr_to_kernel's checks.
int check_address(const sockaddr* address, socklen_t length) {
  if (length > sizeof(sockaddr_storage)) return -EINVAL;
  return client::is_readable(address, length) ? 0 : -EFAULT;
}

// Where an address is wanted: as much of it as can be written.
bool can_tell(const sockaddr* address, const socklen_t* length) {
  if (!client::is_writable(const_cast<socklen_t*>(length), sizeof(*length))) return false;
  return client::is_writable(const_cast<sockaddr*>(address), *length < sizeof(sockaddr_in6) ? *length : sizeof(sockaddr_in6));
}

int accept_call(int fd, sockaddr* address, socklen_t* length, int flags) {
  FileRef<SocketFile> listener = socket_of(fd);
  if (!listener) {
    int k = real().accept4(fd, address, length, flags);
    if (k >= 0) fd_table().forget_stale(k);
    return k;
  }
  cancellation_point();
  if ((flags & ~kTypeFlags) != 0) return static_cast<int>(to_libc(-EINVAL));
  if (address != nullptr && !can_tell(address, length)) return static_cast<int>(to_libc(-EFAULT));
  client::Address remote{};
  int k = listener->twin.load() >= 0 ? accept_either(*listener, fd, flags, &remote, address, length)
                                     : accept_ferry(*listener, fd, listener->nonblocking, flags, &remote);
  if (k >= 0 && address != nullptr && remote.reserved == 0)
    *length = client::write_address(remote, listener->v6(), address, *length);
  return static_cast<int>(to_libc(k));
}

}  // namespace

int connect_ferry(FileRef<SocketFile>& file, int fd, const sockaddr* address, socklen_t length) {
  if (const int error = check_address(address, length); error != 0) return error;
  if (length < sizeof(sa_family_t)) return -EINVAL;
  file->release_reserved_twin();
  sa_family_t family;
  memcpy(&family, address, sizeof(family));  // at any address, as a buffer of bytes has it
  if (family == AF_UNSPEC) return file->socket.disconnect(fd);
  client::Address remote{};
  int error = client::parse_address(address, length, file->v6(), remote);
  Destination where = error == -ENETUNREACH ? Destination::kernel_ipv6 : Destination::ferry;
  if (error != 0 && where == Destination::ferry) return error;
  if (error == 0) where = destination_of(remote);
  if (where != Destination::ferry && !(file->is_connected(fd) && file->type == SOCK_STREAM)) {
    error = hand_over(*file, fd, destination_name(where));
    if (error != 0) return error;
    file.reset();
    return real().connect(fd, address, length) == 0 ? 0 : -errno;
  }
  file->used = true;
  if (log_enabled(LogLevel::debug)) {
    uint32_t ip = client::ipv4_of(remote);
    FERRY_LOG_DEBUG("connect(%d, %u.%u.%u.%u:%u)", fd, ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255, remote.port);
  }
  return file->socket.connect(fd, remote, file->nonblocking);
}

int bind_ferry(FileRef<SocketFile>& file, int fd, const sockaddr* address, socklen_t length) {
  if (const int error = check_address(address, length); error != 0) return error;
  client::Address local{};
  int error = client::parse_address(address, length, file->v6(), local);
  Destination where = error == -ENETUNREACH ? Destination::kernel_ipv6 : Destination::ferry;
  if (error != 0 && where == Destination::ferry) return error;
  if (error == 0 && client::is_unspecified(local)) {
    if (file->v6() && file->v6_only) where = Destination::kernel_ipv6;
  } else if (error == 0) {
    where = destination_of(local);
  }
  if (where != Destination::ferry) {
    error = hand_over(*file, fd, destination_name(where));
    if (error != 0) return error;
    file.reset();
    return real().bind(fd, address, length) == 0 ? 0 : -errno;
  }
  error = file->socket.bind(fd, local);
  if (error != 0) return error;
  file->bound_any = client::is_unspecified(local);
  file->bound = true;
  if (file->bound_any) reserve_loopback_twin(*file, fd);
  return 0;
}

namespace {

int name_call(int fd, sockaddr* address, socklen_t* length, bool peer) {
  FileRef<SocketFile> file = socket_of(fd);
  if (!file) return peer ? real().getpeername(fd, address, length) : real().getsockname(fd, address, length);
  if (!can_tell(address, length)) return static_cast<int>(to_libc(-EFAULT));
  client::Address name{};
  int error = peer ? file->socket.remote_address(fd, name) : file->socket.local_address(fd, name);
  if (error == 0) *length = client::write_address(name, file->v6(), address, *length);
  return static_cast<int>(to_libc(error));
}

}  // namespace

FERRY_EXPORT int socket(int domain, int type, int protocol) noexcept {
  client::SocketKind kind{};
  if (start_process() && kind_of(domain, type & ~kTypeFlags, protocol, kind)) {
    const int k = open_ferry(domain, type, kind);
    if (k != -EOPNOTSUPP) return static_cast<int>(to_libc(k));
    FERRY_LOG_WARN("this ferryd has no server for sockets of protocol %d: kernel socket", protocol);
  }
  int fd = real().socket(domain, type, protocol);
  if (fd >= 0) {
    fd_table().forget_stale(fd);
    adopt_netlink(fd, domain, protocol);
  }
  return fd;
}

FERRY_EXPORT int bind(int fd, const sockaddr* address, socklen_t length) noexcept {
  FileRef<SocketFile> file = socket_of(fd);
  if (!file) return real().bind(fd, address, length);
  return static_cast<int>(to_libc(bind_ferry(file, fd, address, length)));
}

FERRY_EXPORT int listen(int fd, int backlog) noexcept {
  FileRef<SocketFile> file = socket_of(fd);
  if (!file) return real().listen(fd, backlog);
  int error = file->socket.listen(fd, backlog);
  if (error == 0) {
    file->used = true;
    file->native = false;
    make_loopback_twin(*file, fd, backlog);
  }
  return static_cast<int>(to_libc(error));
}

FERRY_EXPORT int accept(int fd, sockaddr* address, socklen_t* length) { return accept_call(fd, address, length, 0); }
FERRY_EXPORT int accept4(int fd, sockaddr* address, socklen_t* length, int flags) {
  return accept_call(fd, address, length, flags);
}

FERRY_EXPORT int connect(int fd, const sockaddr* address, socklen_t length) {
  FileRef<SocketFile> file = socket_of(fd);
  if (!file) return real().connect(fd, address, length);
  cancellation_point();
  return static_cast<int>(to_libc(connect_ferry(file, fd, address, length)));
}

FERRY_EXPORT int shutdown(int fd, int how) noexcept {
  FileRef<SocketFile> file = socket_of(fd);
  if (!file) return real().shutdown(fd, how);
  const int error = file->socket.shutdown(fd, how);
  if (error == 0) shut_loopback_twin(*file, how);
  return static_cast<int>(to_libc(error));
}

FERRY_EXPORT int getsockname(int fd, sockaddr* address, socklen_t* length) noexcept {
  return name_call(fd, address, length, false);
}
FERRY_EXPORT int getpeername(int fd, sockaddr* address, socklen_t* length) noexcept {
  return name_call(fd, address, length, true);
}

}  // namespace ferry::preload

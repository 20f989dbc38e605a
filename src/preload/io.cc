// Interposes read, write, send, recv and their plain relatives. io.h is for the other files that transfer data.
#include "preload/io.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>

#include <algorithm>

#include "client/guarded_copy.h"
#include "ipc/syscall.h"
#include "preload/cancel.h"
#include "preload/datagram.h"
#include "preload/netlink.h"
#include "preload/real.h"

namespace ferry::preload {

namespace {
constexpr size_t kMaxTransfer = 0x7ffff000;  // as the kernel's MAX_RW_COUNT, write(2)

ssize_t send_one(SocketFile& file, int fd, const void* data, size_t size, int flags) {
  iovec v{const_cast<void*>(data), size < kMaxTransfer ? size : kMaxTransfer};
  return send_bytes(file, fd, {&v, 1}, flags);
}

ssize_t receive_one(SocketFile& file, int fd, void* data, size_t size, int flags) {
  iovec v{data, size < kMaxTransfer ? size : kMaxTransfer};
  return receive_bytes(file, fd, {&v, 1}, flags);
}

ssize_t receive_from(SocketFile& file, int fd, void* data, size_t size, int flags, sockaddr* address, socklen_t* length) {
  if (address == nullptr) return receive_one(file, fd, data, size, flags);
  if (!client::is_writable(length, sizeof(*length))) return to_libc(-EFAULT);
  iovec v{data, size};
  msghdr message{};
  message.msg_name = address;
  message.msg_namelen = *length;
  message.msg_iov = &v;
  message.msg_iovlen = 1;
  ssize_t received = receive_message(file, fd, message, flags);
  if (received >= 0) *length = message.msg_namelen;
  return received;
}

// readv(2)'s checks of the vector.
bool vector_ok(const iovec* data, int count) {
  if (count >= 0 && count <= IOV_MAX && client::is_readable(data, static_cast<size_t>(count) * sizeof(iovec))) return true;
  errno = count < 0 || count > IOV_MAX ? EINVAL : EFAULT;
  return false;
}

// Whether there is nothing to read or write: then read(2), readv(2) and writev(2) say 0, whatever the socket is like. Not so recv(2), and
// write(2), which sends an empty datagram.
bool is_empty(const iovec* data, int count) {
  return std::all_of(data, data + count, [](const iovec& v) { return v.iov_len == 0; });
}

ssize_t nothing() {
  cancellation_point();
  return 0;
}

// The calls themselves; -D_FORTIFY_SOURCE has a second name for each.
ssize_t read_call(int fd, void* data, size_t size) {
  if (FileRef<SocketFile> file = data_socket_of(fd)) return size == 0 ? nothing() : receive_one(*file, fd, data, size, 0);
  if (!netlink_used() || size == 0) [[likely]] return real().read(fd, data, size);  // reading nothing consumes nothing
  return receive_with_netlink(fd, data, size, 0, nullptr, nullptr, [=] { return real().read(fd, data, size); });
}

ssize_t recv_call(int fd, void* data, size_t size, int flags) {
  if (FileRef<SocketFile> file = data_socket_of(fd)) return receive_one(*file, fd, data, size, flags);
  if (!netlink_used()) [[likely]] return real().recv(fd, data, size, flags);
  return receive_with_netlink(fd, data, size, flags, nullptr, nullptr, [=] { return real().recv(fd, data, size, flags); });
}

ssize_t recvfrom_call(int fd, void* data, size_t size, int flags, sockaddr* address, socklen_t* length) {
  if (FileRef<SocketFile> file = data_socket_of(fd)) return receive_from(*file, fd, data, size, flags, address, length);
  if (!netlink_used()) [[likely]] return real().recvfrom(fd, data, size, flags, address, length);
  return receive_with_netlink(fd, data, size, flags, address, length,
                              [=] { return real().recvfrom(fd, data, size, flags, address, length); });
}

}  // namespace

bool is_stale(const SocketFile& file, int fd, long result) {
  if (result != -EBADF && result != -ENOTSOCK && result != -ENETDOWN) [[likely]] return false;
  if (file.is_named_by(fd)) return false;
  fd_table().forget_stale(fd);
  return true;
}

ssize_t finish_send(const SocketFile& file, long result, int flags) {
  if (result >= 0) [[likely]] return result;
  if (result == -EPIPE && file.type != SOCK_DGRAM && (flags & MSG_NOSIGNAL) == 0)
    ipc::raw_syscall(SYS_tgkill, ipc::raw_syscall(SYS_getpid), ipc::raw_syscall(SYS_gettid), SIGPIPE);
  errno = static_cast<int>(-result);
  return -1;
}

ssize_t send_bytes(SocketFile& file, int fd, std::span<const iovec> data, int flags) {
  cancellation_point();
  client::SendRequest request;
  request.data = data;
  request.flags = flags;
  request.nonblocking = file.nonblocking.load(std::memory_order_relaxed);
  file.mark_used();
  long result = file.socket.send(fd, request);
  if (is_stale(file, fd, result)) {
    result = ipc::raw_syscall(SYS_writev, fd, ipc::arg(data.data()), static_cast<long>(data.size()));
  }
  return finish_send(file, result, flags);
}

ssize_t receive_bytes(SocketFile& file, int fd, std::span<const iovec> data, int flags) {
  cancellation_point();
  client::ReceiveRequest request;
  request.data = data;
  request.flags = flags;
  request.nonblocking = file.nonblocking.load(std::memory_order_relaxed);
  long result = file.socket.receive(fd, request);
  if (is_stale(file, fd, result))
    result = ipc::raw_syscall(SYS_readv, fd, ipc::arg(data.data()), static_cast<long>(data.size()));
  return to_libc(result);
}

FERRY_EXPORT ssize_t read(int fd, void* data, size_t size) { return read_call(fd, data, size); }

FERRY_EXPORT ssize_t write(int fd, const void* data, size_t size) {
  if (FileRef<SocketFile> file = data_socket_of(fd)) return send_one(*file, fd, data, size, 0);
  if (!netlink_used()) [[likely]] return real().write(fd, data, size);
  return send_with_netlink(fd, data, size, [=] { return real().write(fd, data, size); });
}

FERRY_EXPORT ssize_t send(int fd, const void* data, size_t size, int flags) {
  if (FileRef<SocketFile> file = data_socket_of(fd)) return send_one(*file, fd, data, size, flags);
  if (!netlink_used()) [[likely]] return real().send(fd, data, size, flags);
  return send_with_netlink(fd, data, size, [=] { return real().send(fd, data, size, flags); });
}

FERRY_EXPORT ssize_t recv(int fd, void* data, size_t size, int flags) { return recv_call(fd, data, size, flags); }

FERRY_EXPORT ssize_t readv(int fd, const iovec* data, int count) {
  FileRef<SocketFile> file = data_socket_of(fd);
  if (!file) {
    if (!netlink_used() || !vector_ok(data, count)) [[likely]] return real().readv(fd, data, count);
    return receive_with_netlink(fd, {data, static_cast<size_t>(count)}, 0, nullptr, nullptr,
                                [=] { return real().readv(fd, data, count); });
  }
  if (!vector_ok(data, count)) return -1;
  if (is_empty(data, count)) return nothing();
  return receive_bytes(*file, fd, {data, static_cast<size_t>(count)}, 0);
}

FERRY_EXPORT ssize_t writev(int fd, const iovec* data, int count) {
  FileRef<SocketFile> file = data_socket_of(fd);
  if (!file) {
    if (!netlink_used() || !vector_ok(data, count)) [[likely]] return real().writev(fd, data, count);
    return send_with_netlink(fd, {data, static_cast<size_t>(count)}, [=] { return real().writev(fd, data, count); });
  }
  if (!vector_ok(data, count)) return -1;
  if (is_empty(data, count)) return nothing();
  return send_bytes(*file, fd, {data, static_cast<size_t>(count)}, 0);
}

// With offset -1 these are readv and writev; with another one a socket is not seekable, which the kernel says of K as well.
FERRY_EXPORT ssize_t preadv2(int fd, const iovec* data, int count, off_t offset, int flags) {
  FileRef<SocketFile> file = data_socket_of(fd);
  if (!file || offset != -1) return real().preadv2(fd, data, count, offset, flags);
  if (!vector_ok(data, count)) return -1;
  if (is_empty(data, count)) return nothing();
  return receive_bytes(*file, fd, {data, static_cast<size_t>(count)}, (flags & RWF_NOWAIT) != 0 ? MSG_DONTWAIT : 0);
}

FERRY_EXPORT ssize_t pwritev2(int fd, const iovec* data, int count, off_t offset, int flags) {
  FileRef<SocketFile> file = data_socket_of(fd);
  if (!file || offset != -1) return real().pwritev2(fd, data, count, offset, flags);
  if (!vector_ok(data, count)) return -1;
  if (is_empty(data, count)) return nothing();
  return send_bytes(*file, fd, {data, static_cast<size_t>(count)}, (flags & RWF_NOWAIT) != 0 ? MSG_DONTWAIT : 0);
}

FERRY_EXPORT ssize_t sendto(int fd, const void* data, size_t size, int flags, const sockaddr* address, socklen_t length) {
  FileRef<SocketFile> file = data_socket_of(fd);
  if (!file) {
    if (!netlink_used()) [[likely]] return real().sendto(fd, data, size, flags, address, length);
    return send_with_netlink(fd, data, size, [=] { return real().sendto(fd, data, size, flags, address, length); });
  }
  if (address == nullptr) return send_one(*file, fd, data, size, flags);
  iovec v{const_cast<void*>(data), size};
  msghdr message{};
  message.msg_name = const_cast<sockaddr*>(address);
  message.msg_namelen = length;
  message.msg_iov = &v;
  message.msg_iovlen = 1;
  return send_message(std::move(file), fd, message, flags);
}

FERRY_EXPORT ssize_t recvfrom(int fd, void* data, size_t size, int flags, sockaddr* address, socklen_t* length) {
  return recvfrom_call(fd, data, size, flags, address, length);
}

// What -D_FORTIFY_SOURCE makes of the above: the object's size comes along. An overflow is libc's to report.
FERRY_EXPORT ssize_t __read_chk(int fd, void* data, size_t size, size_t object_size) {
  return size > object_size ? real().__read_chk(fd, data, size, object_size) : read_call(fd, data, size);
}
FERRY_EXPORT ssize_t __recv_chk(int fd, void* data, size_t size, size_t object_size, int flags) {
  return size > object_size ? real().__recv_chk(fd, data, size, object_size, flags) : recv_call(fd, data, size, flags);
}
FERRY_EXPORT ssize_t __recvfrom_chk(int fd, void* data, size_t size, size_t object_size, int flags, sockaddr* address,
                                    socklen_t* length) {
  if (size > object_size) return real().__recvfrom_chk(fd, data, size, object_size, flags, address, length);
  return recvfrom_call(fd, data, size, flags, address, length);
}

}  // namespace ferry::preload

#include "ipc/control_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "ipc/syscall.h"

namespace ferry::ipc {
namespace {

using control::kMaxDescriptors;

// As many descriptors as the kernel lets a message have (SCM_MAX_FD), so that it is not the kernel that closes what is too many.
constexpr size_t kMaxReceived = 253;
constexpr size_t kAncillary = CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(sizeof(int) * kMaxReceived);

void discard_all(DescriptorList& fds, Discard discard) {
  for (uint32_t i = 0; discard != nullptr && i < fds.count; ++i) discard(fds.fds[i].release());
  fds.clear();
}

long socket_call(int type_flags) { return raw_syscall(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | type_flags, 0); }

long fill_address(std::string_view path, sockaddr_un& address) {
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return -ENAMETOOLONG;
  std::memcpy(address.sun_path, path.data(), path.size());
  address.sun_path[path.size()] = '\0';
  return static_cast<long>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
}

long restarting(long number, long a, long b, long c) {
  long r;
  do r = raw_syscall(number, a, b, c);
  while (r == -EINTR);
  return r;
}

long pass_credentials(long fd) {
  const int on = 1;
  return raw_syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_PASSCRED, arg(&on), sizeof on);
}

// Adds a control message of `size` bytes after what `message` has; the buffer is large enough.
void* append_control(msghdr& message, int type, size_t size) {
  auto* c = reinterpret_cast<cmsghdr*>(static_cast<char*>(message.msg_control) + message.msg_controllen);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = type;
  c->cmsg_len = CMSG_LEN(size);
  message.msg_controllen += CMSG_SPACE(size);
  return CMSG_DATA(c);
}

long send_message(int socket, const void* data, size_t size, const int* fds, uint32_t count, const ucred* who, int flags) {
  if (count > kMaxDescriptors) return -EINVAL;
  alignas(cmsghdr) char ancillary[kAncillary] = {};
  iovec io{const_cast<void*>(data), size};
  msghdr message{};
  message.msg_iov = &io;
  message.msg_iovlen = 1;
  message.msg_control = ancillary;
  if (who != nullptr) std::memcpy(append_control(message, SCM_CREDENTIALS, sizeof *who), who, sizeof *who);
  if (count > 0) std::memcpy(append_control(message, SCM_RIGHTS, sizeof(int) * count), fds, sizeof(int) * count);
  if (message.msg_controllen == 0) message.msg_control = nullptr;
  const long sent = restarting(SYS_sendmsg, socket, arg(&message), flags | MSG_NOSIGNAL);
  if (sent < 0) return sent;
  return static_cast<size_t>(sent) == size ? 0 : -EPROTO;
}

// Collects what came along; false: too many descriptors.
bool read_ancillary(msghdr& message, DescriptorList& fds, Credentials* credentials, Discard discard) {
  bool good = true;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET) continue;
    if (c->cmsg_type == SCM_RIGHTS) {
      const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; ++i) {
        int fd;
        std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
        if (fds.count == kMaxDescriptors && discard != nullptr) {
          discard(fd);
          good = false;
        } else {
          good = fds.add(OwnedFd(fd)) && good;
        }
      }
    } else if (c->cmsg_type == SCM_CREDENTIALS && credentials != nullptr) {
      ucred who;
      std::memcpy(&who, CMSG_DATA(c), sizeof who);
      *credentials = {who.pid, who.uid, who.gid, true};
    }
  }
  return good;
}

long receive_message(int socket, void* data, size_t size, DescriptorList& fds, Credentials* credentials, Discard discard,
                     int flags) {
  fds.clear();
  alignas(cmsghdr) char ancillary[kAncillary];
  iovec io{data, size};
  msghdr message{};
  message.msg_iov = &io;
  message.msg_iovlen = 1;
  message.msg_control = ancillary;
  message.msg_controllen = sizeof ancillary;
  const long got = restarting(SYS_recvmsg, socket, arg(&message), flags | MSG_CMSG_CLOEXEC);
  if (got == -ECONNRESET) return -EPIPE;
  if (got < 0) return got;
  const bool good = read_ancillary(message, fds, credentials, discard);
  if (got == 0) return -EPIPE;  // no message of ours is empty
  if (!good || static_cast<size_t>(got) != size || (message.msg_flags & MSG_TRUNC) != 0) {
    discard_all(fds, discard);
    return -EPROTO;
  }
  if ((message.msg_flags & MSG_CTRUNC) == 0) return 0;
  discard_all(fds, discard);  // the kernel dropped descriptors that came along: this process may have no more
  return -EMFILE;
}

}  // namespace

bool DescriptorList::add(OwnedFd fd) {
  if (count == kMaxDescriptors) return false;
  fds[count++] = std::move(fd);
  return true;
}

void DescriptorList::clear() {
  for (OwnedFd& fd : fds) fd.reset();
  count = 0;
}

long connect_control(std::string_view path) {
  sockaddr_un address{};
  const long length = fill_address(path, address);
  if (length < 0) return length;
  const long fd = socket_call(0);
  if (fd < 0) return fd;
  OwnedFd owned(static_cast<int>(fd));
  const long r = restarting(SYS_connect, fd, arg(&address), length);
  if (r < 0) return r;
  return owned.release();
}

long send_request(int socket, const control::Request& request, const int* fds, uint32_t fd_count) {
  ucred who;
  who.pid = static_cast<pid_t>(raw_syscall(SYS_getpid));
  who.uid = static_cast<uid_t>(raw_syscall(SYS_geteuid));
  who.gid = static_cast<gid_t>(raw_syscall(SYS_getegid));
  return send_message(socket, &request, sizeof request, fds, fd_count, &who, 0);
}

long receive_reply(int socket, control::Reply& reply, DescriptorList& fds) {
  return receive_message(socket, &reply, sizeof reply, fds, nullptr, nullptr, 0);
}

long listen_control(std::string_view path, int backlog) {
  sockaddr_un address{};
  const long length = fill_address(path, address);
  if (length < 0) return length;
  const long fd = socket_call(SOCK_NONBLOCK);
  if (fd < 0) return fd;
  OwnedFd owned(static_cast<int>(fd));
  if (const long r = pass_credentials(fd); r < 0) return r;
  if (const long r = raw_syscall(SYS_bind, fd, arg(&address), length); r < 0) return r;
  if (const long r = raw_syscall(SYS_listen, fd, backlog); r < 0) return r;
  return owned.release();
}

long accept_control(int listener) {
  long fd;
  do fd = raw_syscall(SYS_accept4, listener, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK);
  while (fd == -EINTR || fd == -ECONNABORTED);
  if (fd < 0) return fd;
  OwnedFd owned(static_cast<int>(fd));
  if (const long r = pass_credentials(fd); r < 0) return r;
  return owned.release();
}

long pair_control(OwnedFd& server, OwnedFd& client) {
  int ends[2];
  const long r = raw_syscall(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, arg(ends));
  if (r < 0) return r;
  server = OwnedFd(ends[0]);
  client = OwnedFd(ends[1]);
  const long flags = raw_syscall(SYS_fcntl, ends[0], F_GETFL);
  if (const long set = raw_syscall(SYS_fcntl, ends[0], F_SETFL, flags | O_NONBLOCK); set < 0) return set;
  return pass_credentials(ends[0]);
}

long receive_request(int socket, control::Request& request, DescriptorList& fds, Credentials& credentials,
                     Discard discard) {
  credentials = {};
  return receive_message(socket, &request, sizeof request, fds, &credentials, discard, MSG_DONTWAIT);
}

long send_reply(int socket, const control::Reply& reply, const int* fds, uint32_t fd_count) {
  return send_message(socket, &reply, sizeof reply, fds, fd_count, nullptr, MSG_DONTWAIT);
}

}  // namespace ferry::ipc

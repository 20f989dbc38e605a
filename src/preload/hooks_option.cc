// Interposes getsockopt, setsockopt and isfdtype. Options live in client/ and in ferryd; here are those that concern the
// descriptor (type, family), those that a hand-over must replay, and those that the stack has no use for.
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/stat.h>

#include "client/guarded_copy.h"
#include "preload/io.h"
#include "preload/log.h"
#include "preload/real.h"
#include "preload/sctp_calls.h"
#include "preload/socket_file.h"

namespace ferry::preload {
namespace {

constexpr int kFinTimeout = 60;  // seconds; Linux's tcp_fin_timeout

void give(void* value, socklen_t* length, const void* from, socklen_t size) {
  if (*length > size) *length = size;
  memcpy(value, from, *length);
}
int give_int(void* value, socklen_t* length, int number) { return give(value, length, &number, sizeof(number)), 0; }

// SOL_SOCKET options that the descriptor itself answers. 1: not one of them.
int get_descriptor_option(SocketFile& file, int name, void* value, socklen_t* length) {
  switch (name) {
    case SO_TYPE: return give_int(value, length, file.type);
    case SO_DOMAIN: return give_int(value, length, file.family);
    case SO_PROTOCOL: return give_int(value, length, file.socket.is_message() ? IPPROTO_SCTP : file.type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP);
    case SO_ACCEPTCONN: return give_int(value, length, file.socket.is_listening() ? 1 : 0);
    case SO_PEERCRED: {
      const ucred nobody{0, static_cast<uid_t>(-1), static_cast<gid_t>(-1)};  // what the kernel says of an AF_INET socket
      return give(value, length, &nobody, sizeof(nobody)), 0;
    }
  }
  return 1;
}

// Options that Linux accepts on every socket and that mean nothing for this one.
bool is_idle_flag(const SocketFile& file, int level, int name) {
  return file.type == SOCK_DGRAM && level == SOL_SOCKET && name == SO_KEEPALIVE;
}

int get_option(SocketFile& file, int fd, int level, int name, void* value, socklen_t* length) {
  if (!client::is_writable(length, sizeof(*length))) return -EFAULT;
  if (static_cast<int>(*length) < 0) return -EINVAL;
  if (value == nullptr || !client::is_writable(value, *length)) return -EFAULT;
  if (level == SOL_SOCKET)
    if (int result = get_descriptor_option(file, name, value, length); result <= 0) return result;
  if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY && file.v6()) return give_int(value, length, file.v6_only ? 1 : 0);
  if (is_idle_flag(file, level, name)) return give_int(value, length, file.keep_alive ? 1 : 0);
  const int result = file.socket.get_option(fd, level, name, value, length);
  if (result == 0 && level == IPPROTO_TCP && name == TCP_LINGER2 && *length == sizeof(int)) {
    int seconds = 0;
    memcpy(&seconds, value, sizeof(seconds));
    if (seconds == 0) give_int(value, length, kFinTimeout);  // unset reads as the system's, tcp(7)
  }
  return result;
}

// 1: not decided here.
int set_here(SocketFile& file, int fd, int level, int name, const void* value, socklen_t length) {
  if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY && file.v6()) {
    int number = 0;
    if (length < sizeof(number)) return -EINVAL;
    if (file.bound) return -EINVAL;
    memcpy(&number, value, sizeof(number));
    file.v6_only = number != 0;
    return 0;
  }
  if (is_idle_flag(file, level, name)) {
    int number = 0;
    if (length < sizeof(number)) return -EINVAL;
    memcpy(&number, value, sizeof(number));
    file.keep_alive = number != 0;
    return 0;
  }
  if (level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO)) {
    // K keeps them too: a process that gets the socket by exec reads them back from there.
    file.copied = true;
    ipc::raw_syscall(SYS_setsockopt, fd, level, name, ipc::arg(value), length);
  }
  return 1;
}

int set_option(SocketFile& file, int fd, int level, int name, const void* value, socklen_t length) {
  if (!client::is_readable(value, length)) return -EFAULT;
  int result = set_here(file, fd, level, name, value, length);
  if (result == 1) result = file.socket.set_option(fd, level, name, value, length);
  if (result == -EINVAL && level == IPPROTO_TCP && name == TCP_CONGESTION && length > 0) result = -ENOENT;  // no such algorithm
  if (result == 0) file.record_option(level, name, value, length);
  if (result == -ENOPROTOOPT) FERRY_LOG_INFO("setsockopt(%d, level %d, option %d) is not served by Ferry", fd, level, name);
  return result;
}

}  // namespace

FERRY_EXPORT int getsockopt(int fd, int level, int name, void* value, socklen_t* length) noexcept {
  FileRef<SocketFile> file = socket_of(fd);
  if (!file) return real().getsockopt(fd, level, name, value, length);
  if (is_sctp_call(*file, level, name)) return static_cast<int>(to_libc(sctp_get(std::move(file), fd, name, value, length)));
  int result = get_option(*file, fd, level, name, value, length);
  if (is_stale(*file, fd, result)) return real().getsockopt(fd, level, name, value, length);
  return static_cast<int>(to_libc(result));
}

FERRY_EXPORT int setsockopt(int fd, int level, int name, const void* value, socklen_t length) noexcept {
  FileRef<SocketFile> file = socket_of(fd);
  if (!file) return real().setsockopt(fd, level, name, value, length);
  if (is_sctp_call(*file, level, name)) return static_cast<int>(to_libc(sctp_set(std::move(file), fd, name, value, length)));
  int result = set_option(*file, fd, level, name, value, length);
  if (is_stale(*file, fd, result)) return real().setsockopt(fd, level, name, value, length);
  return static_cast<int>(to_libc(result));
}

}  // namespace ferry::preload

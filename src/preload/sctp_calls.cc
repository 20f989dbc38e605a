#include "preload/sctp_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sctp.h>
#include <netinet/in.h>
#include <string.h>

#include <algorithm>
#include <utility>

#include "client/guarded_copy.h"
#include "preload/hooks_socket.h"

namespace ferry::preload {
namespace {

// A list of addresses side by side, as libsctp packs them, is to be one. 0 or -errno; EADDRNOTAVAIL for more.
int one_address(const void* list, size_t bytes, sockaddr_in6& address) {
  sa_family_t family = 0;
  if (bytes < sizeof(family)) return -EINVAL;
  if (!client::is_readable(list, std::min(bytes, sizeof(address)))) return -EFAULT;
  memcpy(&family, list, sizeof(family));
  const size_t size = family == AF_INET ? sizeof(sockaddr_in) : family == AF_INET6 ? sizeof(sockaddr_in6) : 0;
  if (size == 0 || bytes < size) return -EINVAL;
  if (bytes > size) return -EADDRNOTAVAIL;
  memcpy(&address, list, size);
  return 0;
}

// The association with `peer`, or the only one: its number, 0 if there is none.
int association_with(SocketFile& file, int fd, const sockaddr_in6& peer) {
  sctp_paddrinfo info{};
  memcpy(&info.spinfo_address, &peer, peer.sin6_family == AF_INET ? sizeof(sockaddr_in) : sizeof(peer));
  socklen_t length = sizeof(info);
  return file.socket.get_option(fd, IPPROTO_SCTP, SCTP_GET_PEER_ADDR_INFO, &info, &length) == 0 ? info.spinfo_assoc_id : 0;
}

int bind_one(FileRef<SocketFile>& file, int fd, const void* list, size_t bytes) {
  sockaddr_in6 address{};
  if (const int error = one_address(list, bytes, address); error != 0) return error;
  if (file->bound) return -EADDRNOTAVAIL;  // a second one
  return bind_ferry(file, fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

// `association`: gets the number of the association, which is there once connecting has begun.
int connect_one(FileRef<SocketFile>& file, int fd, const void* list, size_t bytes, int& association) {
  sockaddr_in6 address{};
  if (const int error = one_address(list, bytes, address); error != 0) return error;
  const int result = connect_ferry(file, fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  association = file && (result == 0 || result == -EINPROGRESS) ? association_with(*file, fd, address) : 0;
  return result;
}

int peel_off(SocketFile& file, int fd, uint32_t association, unsigned flags) {
  if ((flags & ~unsigned{SOCK_NONBLOCK | SOCK_CLOEXEC}) != 0) return -EINVAL;
  FileRef<SocketFile> child = SocketFile::create(file.family, SOCK_STREAM);
  if (!child) return -ENOMEM;
  const bool nonblocking = (flags & SOCK_NONBLOCK) != 0;
  const int k = file.socket.peel_off(fd, association, child->socket, nonblocking, (flags & SOCK_CLOEXEC) != 0);
  if (k < 0) return k;
  child->used = true;
  child->v6_only = file.v6_only.load();
  return install_socket(*child, k, nonblocking);
}

int peel_off_as_asked(SocketFile& file, int fd, int name, void* value, socklen_t* length) {
  const bool with_flags = name == SCTP_SOCKOPT_PEELOFF_FLAGS;
  sctp_peeloff_flags_arg_t asked{};
  const socklen_t size = with_flags ? sizeof(asked) : sizeof(asked.p_arg);
  if (*length < size) return -EINVAL;
  memcpy(&asked, value, size);
  const int k = peel_off(file, fd, static_cast<uint32_t>(asked.p_arg.associd), asked.flags);
  if (k < 0) return k;
  asked.p_arg.sd = k;
  memcpy(value, &asked, size);
  *length = size;
  return k;
}

}  // namespace

bool is_sctp_call(const SocketFile& file, int level, int name) {
  if (level != IPPROTO_SCTP || !file.socket.is_message()) return false;
  switch (name) {
    case SCTP_SOCKOPT_BINDX_ADD:
    case SCTP_SOCKOPT_BINDX_REM:
    case SCTP_SOCKOPT_CONNECTX_OLD:
    case SCTP_SOCKOPT_CONNECTX:
    case SCTP_SOCKOPT_CONNECTX3:
    case SCTP_SOCKOPT_PEELOFF:
    case SCTP_SOCKOPT_PEELOFF_FLAGS: return true;
    default: return false;
  }
}

int sctp_set(FileRef<SocketFile> file, int fd, int name, const void* value, socklen_t length) {
  int association = 0;
  switch (name) {
    case SCTP_SOCKOPT_BINDX_ADD: return bind_one(file, fd, value, length);
    case SCTP_SOCKOPT_BINDX_REM: return -EBUSY;  // the last address stays, as on Linux
    case SCTP_SOCKOPT_CONNECTX_OLD: return connect_one(file, fd, value, length, association);
    case SCTP_SOCKOPT_CONNECTX: {
      const int result = connect_one(file, fd, value, length, association);
      return result == 0 ? association : result;
    }
    default: return -ENOPROTOOPT;
  }
}

int sctp_get(FileRef<SocketFile> file, int fd, int name, void* value, socklen_t* length) {
  if (!client::is_writable(length, sizeof(*length)) || !client::is_writable(value, *length)) return -EFAULT;
  if (name == SCTP_SOCKOPT_PEELOFF || name == SCTP_SOCKOPT_PEELOFF_FLAGS) return peel_off_as_asked(*file, fd, name, value, length);
  if (name != SCTP_SOCKOPT_CONNECTX3) return -ENOPROTOOPT;
  sctp_getaddrs_old asked;  // its addr_num counts bytes
  if (*length < sizeof(asked)) return -EINVAL;
  memcpy(&asked, value, sizeof(asked));
  if (asked.addr_num <= 0) return -EINVAL;
  int association = 0;
  const int result = connect_one(file, fd, asked.addrs, static_cast<size_t>(asked.addr_num), association);
  if (association == 0) return result;
  *length = sizeof(association);
  memcpy(value, &association, sizeof(association));
  return result;
}

}  // namespace ferry::preload

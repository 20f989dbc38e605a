#include "server/holder.h"

#include <sys/socket.h>

namespace ferry::server {

SocketPair LocalHolder::make_pair(bool stream) {
  int ends[2];
  SocketPair pair;
  if (socketpair(AF_UNIX, (stream ? SOCK_STREAM : SOCK_SEQPACKET) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
    return pair;
  pair.server.reset(ends[0]);
  pair.client.reset(ends[1]);
  pair.cookie = socket_cookie(ends[1]);
  return pair;
}

uint64_t socket_cookie(int fd) {
  uint64_t cookie = 0;
  socklen_t length = sizeof cookie;
  return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) == 0 ? cookie : 0;
}

}  // namespace ferry::server

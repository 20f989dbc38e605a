// Who makes the kernel objects that a socket consists of, so that a keeper process can hold them later and connections can outlive
// this server. Today the server itself makes them.
#pragma once

#include <cstdint>

#include "server/unique_fd.h"

namespace ferry::server {

// A socket pair: `client` is K, which the program gets as its descriptor; `server` is S, which stays here. Both non-blocking and
// close-on-exec; the flags of K are the client's to change (they belong to its own open file description).
struct SocketPair {
  UniqueFd server, client;
  uint64_t cookie = 0;  // SO_COOKIE of K: its identity, whatever number or process it has (socket(7))
};

class Holder {
 public:
  // stream: SOCK_STREAM (TCP), else SOCK_SEQPACKET. An invalid `server` means that no descriptors are left.
  virtual SocketPair make_pair(bool stream) = 0;

 protected:
  ~Holder() = default;
};

class LocalHolder final : public Holder {
 public:
  SocketPair make_pair(bool stream) override;
};

// SO_COOKIE of a socket; 0 if it is none.
uint64_t socket_cookie(int fd);

}  // namespace ferry::server

// Calls that go through the output ring of a stream, in order with its data, and are not waited for (abi::RingCall): those whose
// outcome shows in the socket's words anyway, or cannot be but good.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cstring>

#include "client/ring_lock.h"
#include "client/socket.h"

namespace ferry::client {

namespace abi = ipc::abi;

bool Socket::post(int k, uint16_t what, uint64_t argument, bool connects) {
  Home* h = nullptr;
  RingLock lock;
  if (enter(k, Side::tx, h, lock) != 0) return false;
  abi::SocketShared& s = *h->shared;
  if (h->tx.space(s.tx_taken) == 0) return false;
  if (connects) {
    // A socket that has been bound, or was connected before, has more ways to fail.
    if (h->ready() != 0 || load_relaxed(s.local_port) != 0 || load_relaxed(s.error) != 0) return false;
    h->connect_entry = h->tx.next();
    store_release(h->connect_posted, 1u);
  }
  h->tx.push(s.tx, s.tx_produced, {argument, 0, what, abi::kCall});
  lock.release();
  h->channel->ring(h->engine, h->slot);
  return true;
}

// A blocking connect waits for the outcome, whatever it is. Without blocking, what would fail at once must be asked for.
bool Socket::post_connect(int k, const Address& remote, bool nonblocking) {
  Channel* channel = Channel::existing();
  if (kind_ != abi::kKindTcp || channel == nullptr || ipv4_of(remote) == 0 || remote.port == 0) return false;
  if (nonblocking && !channel->reaches(ipv4_of(remote))) return false;
  return post(k, abi::kCallConnect, uint64_t{ipv4_of(remote)} | uint64_t{remote.port} << 32, true);
}

bool Socket::post_option(int k, int level, int name, const void* value, socklen_t length) {
  int number = 0;
  if (kind_ != abi::kKindTcp || length < sizeof number) return false;
  const bool flag = (level == SOL_SOCKET && name == SO_KEEPALIVE) || (level == IPPROTO_TCP && (name == TCP_NODELAY || name == TCP_QUICKACK));
  if (!flag) return false;
  std::memcpy(&number, value, sizeof number);
  const uint64_t argument = uint64_t{static_cast<uint32_t>(number)} | uint64_t(level) << 32 | uint64_t(name) << 48;
  return post(k, abi::kCallOption, argument, false);
}

}  // namespace ferry::client

// A datagram that is put together by several sends: MSG_MORE and UDP_CORK (udp(7)). Its bytes wait here, in the program's own memory,
// until the call that completes it. As Linux: the first call chooses where it goes; one that grows too long is dropped as a whole.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "client/address.h"
#include "client/iov_cursor.h"
#include "client/mutex.h"

namespace ferry::client {

struct SendRequest;

class DatagramCork {
 public:
  // A datagram that is complete, and how it is to be sent.
  struct Parcel {
    std::vector<std::byte> bytes;
    std::optional<Address> to, source;
    int tos = -1, ttl = 0;
  };

  // Adds the data of a send. -EMSGSIZE: more than `most` bytes; -EFAULT: it is not there; what waited is dropped. Else its length.
  long add(const SendRequest& request, size_t most);
  // Hands over what waits; nothing: nothing does.
  std::optional<Parcel> take();
  bool is_empty();

 private:
  Mutex mutex_;
  std::optional<Parcel> parcel_;
};

}  // namespace ferry::client

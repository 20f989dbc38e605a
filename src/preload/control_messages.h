// Reads control messages wherever a program has them, cmsg(3): at any address, and bounded by what it says of their length, as the kernel
// does (CMSG_OK).
#pragma once

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

namespace ferry::preload {

// Calls visit(header, data, bytes of data) for each until one gives other than 0, which is the result. -EINVAL: a message is longer than what
// is there, or shorter than its header. The memory must be readable.
template <typename Visit>
int for_each_control(const msghdr& message, Visit visit) {
  const char* at = static_cast<const char*>(message.msg_control);
  size_t left = at == nullptr ? 0 : message.msg_controllen;
  while (left >= sizeof(cmsghdr)) {
    cmsghdr header;
    memcpy(&header, at, sizeof(header));
    if (header.cmsg_len < sizeof(header) || header.cmsg_len > left) return -EINVAL;
    if (const int result = visit(header, at + CMSG_LEN(0), header.cmsg_len - CMSG_LEN(0)); result != 0) return result;
    const size_t space = CMSG_ALIGN(header.cmsg_len);
    if (space >= left) break;
    at += space;
    left -= space;
  }
  return 0;
}

}  // namespace ferry::preload

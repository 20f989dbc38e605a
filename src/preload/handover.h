// Giving a socket to the kernel for good: the program's numbers come to name a kernel socket with the same options.
#pragma once

#include "preload/socket_file.h"

namespace ferry::preload {

// Replaces the Ferry socket by a fresh kernel socket under all its numbers in this process: options, O_NONBLOCK, FD_CLOEXEC, a
// bound local port and epoll registrations are carried over. `reason` goes into the log. 0 or -errno (-EISCONN, -EBUSY: in use).
int hand_over(SocketFile& file, int fd, const char* reason);

// To kernel mode (tier 2), for users of K that cannot be intercepted: the numbers stay Ferry's, epoll sets let the kernel watch.
// Also when it is there already. 0 or -errno.
int demote(SocketFile& file, int fd, const char* reason);

// `fd` has come to name the socket. Standard input and output go to kernel mode: stdio uses them by calls inside libc, which are
// not seen here. Not listeners, and not datagram sockets without a peer: a stream of bytes has no place for addresses.
void open_to_stdio(SocketFile& file, int fd);

}  // namespace ferry::preload

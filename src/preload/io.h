// Transfers on a Ferry socket for everything that interposes a data call.
#pragma once

#include <sys/uio.h>

#include <span>

#include "preload/socket_file.h"

namespace ferry::preload {

// send(2) and relatives without address or control data: bytes, or -1 and errno; raises SIGPIPE as the kernel would.
ssize_t send_bytes(SocketFile& file, int fd, std::span<const iovec> data, int flags);
ssize_t receive_bytes(SocketFile& file, int fd, std::span<const iovec> data, int flags);

// Result of a send to the program: errno, and SIGPIPE after -EPIPE on a stream.
ssize_t finish_send(const SocketFile& file, long result, int flags);

// The table says `fd` is `file`, and the socket says it is gone: was the number freed and used again unseen? Then it is forgotten.
// True: the call is to be repeated on the kernel's descriptor.
bool is_stale(const SocketFile& file, int fd, long result);

}  // namespace ferry::preload

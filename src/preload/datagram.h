// sendmsg and recvmsg on a Ferry socket: addresses and control messages at the edge between libc's structures and the client's.
#pragma once

#include <sys/socket.h>

#include "preload/socket_file.h"

namespace ferry::preload {

// Bytes, or -1 and errno. Takes the reference: a first datagram to the kernel's loopback hands the socket over.
ssize_t send_message(FileRef<SocketFile> file, int fd, const msghdr& message, int flags);
ssize_t receive_message(SocketFile& file, int fd, msghdr& message, int flags);

}  // namespace ferry::preload

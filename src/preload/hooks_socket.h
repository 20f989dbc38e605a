// What other files do as the socket calls do.
#pragma once

#include <sys/socket.h>

#include "preload/socket_file.h"

namespace ferry::preload {

// connect(2) and bind(2) of a Ferry socket: 0 or -errno. `file` is let go of when the socket goes to the kernel.
int connect_ferry(FileRef<SocketFile>& file, int fd, const sockaddr* address, socklen_t length);
int bind_ferry(FileRef<SocketFile>& file, int fd, const sockaddr* address, socklen_t length);
// Gives the socket just made a place in the table, under the number `k` that backs it: `k`, or -errno with the socket closed.
int install_socket(SocketFile& file, int k, bool nonblocking);

}  // namespace ferry::preload

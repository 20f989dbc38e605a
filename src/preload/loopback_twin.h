// A listener on 0.0.0.0 also accepts on the kernel's loopback, by a kernel listener on 127.0.0.1 with the same port, its twin.
// Not with `ferryd --loopback`, where Ferry serves 127.0.0.0/8 itself.
#pragma once

#include "preload/socket_file.h"

namespace ferry::preload {

// After bind(2) of `fd` to the unspecified address succeeded: binds the twin, while the program may (it may give up the right to the
// port before it listens). Failure is told when listen(2) fails to make the twin, too.
void reserve_loopback_twin(SocketFile& file, int fd);

// After listen(2) succeeded on `fd`. Failure (the port is in use on the loopback, no loopback) is logged, never an error.
void make_loopback_twin(SocketFile& file, int fd, int backlog);

// After shutdown(2) succeeded on the listener: who waits for the twin sees what becomes of both. It is the twin still if they listen again.
void shut_loopback_twin(SocketFile& file, int how);

// SO_RCVTIMEO of the socket as an argument for poll; nullptr: none set.
const timespec* receive_timeout(SocketFile& file, int fd, timespec& storage);

}  // namespace ferry::preload

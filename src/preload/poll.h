// poll(2) over any mixture of Ferry sockets, epoll sets that hold some, and kernel descriptors.
#pragma once

#include <poll.h>
#include <signal.h>
#include <time.h>

namespace ferry::preload {

// As ppoll(2): the number of ready descriptors, or -1 and errno.
int poll_files(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask);

}  // namespace ferry::preload

// Closing descriptors that clients have sent. close() of a stranger's descriptor can block for as long as the stranger likes: a
// kernel TCP socket that lingers, a file of a FUSE server. The engine's thread must not be the one who waits.
#pragma once

namespace ferry::server {

// Closes `fd` without waiting: sockets here, after making them close at once; everything else in a thread of its own, which
// lives as long as there is such a thing.
void close_foreign(int fd);

}  // namespace ferry::server

// Calls on SCTP sockets that libsctp makes as socket options: sctp_bindx, sctp_connectx, sctp_peeloff (linux/sctp.h, SCTP_SOCKOPT_…).
// A Ferry socket has one address at each end, so lists of one address are served and longer ones refused with EADDRNOTAVAIL.
#pragma once

#include <sys/socket.h>

#include "preload/socket_file.h"

namespace ferry::preload {

bool is_sctp_call(const SocketFile& file, int level, int name);
// As setsockopt(2) and getsockopt(2): what the call returns, or -errno.
int sctp_set(FileRef<SocketFile> file, int fd, int name, const void* value, socklen_t length);
int sctp_get(FileRef<SocketFile> file, int fd, int name, void* value, socklen_t* length);

}  // namespace ferry::preload

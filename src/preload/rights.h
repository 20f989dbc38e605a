// Ferry sockets that travel between processes by SCM_RIGHTS (unix(7)).
#pragma once

#include <sys/socket.h>

namespace ferry::preload {

// Before descriptors are sent over the AF_UNIX socket `fd`: Ferry sockets among them are put into kernel mode unless the
// receiver is known to have libferry loaded.
void before_sending_rights(int fd, const msghdr& message);

// Makes Ferry sockets among received descriptors known; other numbers are known not to be ours.
void after_receiving_rights(msghdr& message);

}  // namespace ferry::preload

// Ferry sockets that came to this process by other ways than socket() and accept(): over exec, or by SCM_RIGHTS.
#pragma once

namespace ferry::preload {

// Looks through all open descriptors at start.
void adopt_inherited();

// If `fd` is a Ferry socket of our ferryd that the table does not know, makes it known. True: `fd` is ours now.
bool adopt_if_ferry(int fd);

}  // namespace ferry::preload

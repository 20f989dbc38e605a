// What the kernel says of a client process: capabilities and name, from proc(5).
#pragma once

#include <sys/types.h>

#include <string>

namespace ferry::server {

// Whether the process may bind ports below 1024: user 0 or effective CAP_NET_BIND_SERVICE (capabilities(7)) in ferryd's user
// namespace, as long as the process is that user's. Unreadable: no.
bool may_bind_privileged_ports(pid_t pid, uid_t uid);
// The name of the process ("nginx"), empty when it is gone.
std::string process_name(pid_t pid);

}  // namespace ferry::server

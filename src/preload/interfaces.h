// Ferry's own interfaces as libc shows interfaces: getifaddrs, if_nametoindex, SIOCGIF… . The kernel knows the link below but not
// the address on it.
#pragma once

#include <net/if.h>

#include <vector>

#include "ipc/control.h"

namespace ferry::preload {

// All interfaces of ferryd; empty when it cannot be asked.
std::vector<ipc::control::InterfaceInfo> ferry_interfaces();

// Those whose address the kernel's own lists do not have, with the number that the kernel gives to the link of that name in this
// network namespace (if_nametoindex), 0 if there is none.
std::vector<ipc::control::InterfaceInfo> addresses_kernel_lacks();

// netdevice(7) on a Ferry socket. 0 or -errno.
int interface_ioctl(unsigned long request, void* argument);
bool is_interface_ioctl(unsigned long request);

}  // namespace ferry::preload

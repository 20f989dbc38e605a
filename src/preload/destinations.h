// Which addresses Ferry serves and which stay with the kernel (docs/compatibility.md, "Who serves what").
#pragma once

#include "client/address.h"

namespace ferry::preload {

enum class Destination {
  ferry,
  kernel_loopback,  // 127.0.0.0/8, unless ferryd runs with --loopback
  kernel_ipv6,      // an IPv6 address that is not IPv4-mapped
};

// For a peer or a local address; unspecified means the loopback, as for connect(2) on Linux.
Destination destination_of(const client::Address& address);
// The same without the channel, for addresses of datagrams. True: the kernel's loopback is meant.
bool is_kernel_loopback(const client::Address& address);

const char* destination_name(Destination where);

}  // namespace ferry::preload

// Up to which length a network interface takes IPv4 packets that are still to be cut into segments: "gso_ipv4_max_size" of ip-link(8). What
// is longer the kernel cuts before the interface sees it. Only rtnetlink(7) tells the number and changes it.
#pragma once

#include <cstdint>
#include <string>

#include "link/interface.h"
#include "link/open.h"
#include "link/outcome.h"

namespace ferry::link {

// Bytes of a frame, which must be shorter. Needs no privilege. Before Linux 6.3 there is no limit of IPv4's own, and kUsualGsoLimit at most.
Outcome<uint32_t> gso_limit(const Interface& interface);
// Raises it, for everybody who sends by the interface and beyond this process's end. Needs CAP_NET_ADMIN. Empty: done. Otherwise why not: more
// than the device takes (tso_max_size), no permission, before Linux 6.3.
std::string raise_gso_limit(const Interface& interface, uint32_t bytes);
// Payload of a TCP segment that fits into a frame below the limit with every header that it can have.
uint32_t gso_payload(uint32_t limit);

}  // namespace ferry::link

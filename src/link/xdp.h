// Frames of an existing interface by AF_XDP: past the kernel's stack, in the driver where that is possible, without a copy where the driver
// can. Beside the kernel on one interface: it gets what is not Ferry's (xdp_filter.h).
//
//   IFACE[,queues=N][,copy|zerocopy]
//
// No offloads: the stack sums and segments, and frames of a batch stay, so that they can be joined (link/join.h). A frame is copied once into
// the memory for sending. Owns: set-up and the Link. Does not own: the rings (xdp_queue.h), the program (xdp_filter.h).
#pragma once

#include <memory>
#include <string>

#include "link/open.h"

namespace ferry::link {

Outcome<std::unique_ptr<Link>> open_xdp(const std::string& spec, const Options& options);

}  // namespace ferry::link

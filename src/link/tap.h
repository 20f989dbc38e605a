// A TAP interface of the kernel with offloads (tun(4), Documentation/networking/tuntap.rst): Ferry is the other end of its wire.
#pragma once

#include <memory>
#include <string>

#include "link/open.h"

namespace ferry::link {

// Attaches to `interface`, or creates it (it then lives as long as the link) and brings it up. Options used: mac, all_frames.
Outcome<std::unique_ptr<Link>> open_tap(const std::string& interface, const Options& options);

}  // namespace ferry::link

// An AF_PACKET socket on an existing interface (packet(7)), with super-segments and checksums left to the kernel
// (PACKET_VNET_HDR): veth, bridges, any Ethernet card. Ferry lives beside the kernel's stack there, with an address of its own.
//
// Owns: set-up and the Link. Does not own: the mapped ring (packet_ring.h), sending (frame_sender.h).
#pragma once

#include <memory>
#include <string>

#include "link/open.h"

namespace ferry::link {

Outcome<std::unique_ptr<Link>> open_packet(const std::string& interface, const Options& options);

}  // namespace ferry::link

// Two links in one process, joined back to back: what one sends the other receives. For tests, simulations and two stacks in a
// process. Frames keep their offload fields, as between two ends of a veth. Deterministic: no clock, no thread, no descriptor.
#pragma once

#include <memory>
#include <utility>

#include "link/link.h"

namespace ferry::link {

struct MemoryOptions {
  wire::MacAddress mac_a{{0x02, 0xfe, 0, 0, 0, 0x0a}};
  wire::MacAddress mac_b{{0x02, 0xfe, 0, 0, 0, 0x0b}};
  uint32_t mtu = 1500;
  uint32_t max_gso = 65000;    // 0: frames of at most MTU size
  bool checksums = true;       // false: neither end may leave checksums to the link
  // What may wait in one direction. A full queue refuses with Errc::again.
  uint32_t queue_frames = 1024;
  uint32_t queue_bytes = 16u << 20;
};

using LinkPair = std::pair<std::unique_ptr<Link>, std::unique_ptr<Link>>;

// Either end may be destroyed first; the other then sends into nothing (counted as dropped).
LinkPair make_memory_pair(const MemoryOptions& options = {});

}  // namespace ferry::link

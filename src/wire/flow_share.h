// Which of several stacks behind one address a TCP flow belongs to. The same function decides where links send what comes in
// (link/fanout.h computes it in the kernel) and which local ports a stack may connect from.
#pragma once

#include <cstdint>

#include "wire/address.h"

namespace ferry::wire {

// One stack of `count` that divide the flows among themselves. Number 0 has everything else as well: ARP, ICMP, UDP, fragments.
struct Share {
  uint32_t index = 0, count = 1;
};

inline constexpr uint32_t kShareAddressFactor = 0x9e3779b1, kSharePortFactor = 0x85ebca6b;  // odd, without a pattern
inline constexpr uint32_t kShareShift = 16;

// Index of the share, < count. Ports in host order. Whoever chooses ports can choose the share: it spreads load, it protects nothing.
constexpr uint32_t share_of_flow(Ipv4Address local, uint16_t local_port, Ipv4Address remote, uint16_t remote_port, uint32_t count) {
  const uint32_t ports = static_cast<uint32_t>(remote_port) << 16 | local_port;
  return ((((local.value ^ remote.value) * kShareAddressFactor) ^ ports) * kSharePortFactor >> kShareShift) % count;
}

}  // namespace ferry::wire

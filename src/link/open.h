// Opens a link by its name on the command line: "packet:veth0", "tap:ferry0" or "xdp:eth0,queues=2".
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "link/link.h"
#include "link/outcome.h"

namespace ferry::link {

// Bytes of a frame that an interface is left to cut into segments.
inline constexpr uint32_t kUsualGsoLimit = 65536;  // of an interface that nobody has changed (Linux: GSO_LEGACY_MAX_SIZE)
inline constexpr uint32_t kMostGsoLimit = 262144;  // what Ferry makes use of

struct Options {
  // Ferry's own address on the link; unset: one derived from the interface's, always the same for it.
  std::optional<wire::MacAddress> mac;
  // Use the interface's own address ("--mac interface"). Refused while the kernel has an IPv4 address there or forwards,
  // because both stacks would answer. Not for tap links.
  bool interface_mac = false;
  // Ferry's IPv4 address there. Links that share the interface with the kernel frame by frame (xdp) take ARP about it.
  wire::Ipv4Address address;
  // Receive whatever arrives, for whomever, and send with any source address: relays and captures.
  bool all_frames = false;
  // Ring slots for received frames and bytes of large frames that may wait (packet links).
  uint32_t receive_slots = 2048;
  uint32_t receive_bytes = 32u << 20;
  // Largest packet that is left to the interface to be cut into segments, bytes (kUsualGsoLimit … kMostGsoLimit); the interface's own limit is
  // raised to it. 0: as the interface says. Packet links only.
  uint32_t gso_max_size = 0;
  // Receive by one system call a frame instead of through the mapped ring (packet links; for comparison).
  bool plain_receive = false;
};

// The link, ready to use, or a sentence for the person who typed `spec`: unknown kind or interface, no permission, interface
// down, MTU too small, address refused. Works in the network namespace of the calling thread. Needs CAP_NET_RAW (packet),
// CAP_NET_ADMIN (tap) or both and CAP_BPF (xdp) now, and no privilege afterwards.
Outcome<std::unique_ptr<Link>> open(std::string_view spec, const Options& options);

// The same for `count` stacks that divide the flows among themselves: each receives what wire::share_of_flow gives it, the first one
// everything else as well. Refused for links that cannot spread (all but packet).
Outcome<std::vector<std::unique_ptr<Link>>> open_spread(std::string_view spec, const Options& options, uint32_t count);

// "02:00:5e:10:00:01" (six octets, any case); nothing for anything else or for a group or zero address.
std::optional<wire::MacAddress> parse_mac(std::string_view text);
std::string to_string(const wire::MacAddress& mac);

}  // namespace ferry::link

// The counters of one stack: plain numbers with stable names, shown by `ferry stat`. One engine writes them, without atomics.
// To add one, add a line to the list.
#pragma once

#include <cstdint>

#include "base/drop.h"

namespace ferry {

// clang-format off
#define FERRY_COUNTERS(X)                                                                 \
  X(frames_in) X(frames_out) X(bytes_in) X(bytes_out)                                     \
  X(arp_in) X(arp_requests_out) X(arp_replies_out) X(arp_conflicts)                       \
  X(ip_in) X(ip_out) X(ip_delivered)                                                      \
  X(fragments_in) X(fragments_out) X(datagrams_reassembled) X(datagrams_fragmented)       \
  X(checksums_in_software)      /* transport checksums the link could not make */         \
  X(payload_bytes_summed)       /* payload read for a checksum, in or out */              \
  X(payload_bytes_copied)       /* payload copied within the core: ARP queue, fragments */ \
  X(icmp_in) X(icmp_echo_in) X(icmp_echo_replies_in) X(icmp_errors_in)                    \
  X(icmp_echo_out) X(icmp_echo_replies_out) X(icmp_errors_out)                            \
  X(udp_in) X(udp_out)                                                                    \
  X(tcp_segments_in) X(tcp_segments_out) X(tcp_resets_out) X(tcp_retransmits)             \
  X(tcp_connections_opened) X(tcp_connections_accepted) X(tcp_connections_failed)    \
  X(tcp_orphans_reset)          /* the oldest of too many connections that lingered */    \
  X(tcp_time_waits_forgotten)   /* before their time: too many, or no memory */
// clang-format on

struct Counters {
#define FERRY_COUNTER_FIELD(name) uint64_t name = 0;
  FERRY_COUNTERS(FERRY_COUNTER_FIELD)
#undef FERRY_COUNTER_FIELD
  uint64_t drops[kDropReasons] = {};

  void drop(Drop reason) { ++drops[static_cast<uint32_t>(reason)]; }
  uint64_t dropped(Drop reason) const { return drops[static_cast<uint32_t>(reason)]; }

  // Calls visit(const char* name, uint64_t value) for every counter, drop reasons last.
  template <typename Visit>
  void for_each(Visit&& visit) const {
#define FERRY_COUNTER_VISIT(name) visit(#name, name);
    FERRY_COUNTERS(FERRY_COUNTER_VISIT)
#undef FERRY_COUNTER_VISIT
    for (uint32_t i = 0; i < kDropReasons; ++i) visit(drop_name(static_cast<Drop>(i)), drops[i]);
  }
};

}  // namespace ferry

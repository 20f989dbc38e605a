// Why a packet was dropped. A bad packet is not an error of anybody's call: it gets a reason, and each reason is a counter with
// a stable name ("drop_" + the enumerator) that `ferry stat` shows.
#pragma once

#include <cstdint>

namespace ferry {

// clang-format off
#define FERRY_DROP_REASONS(X)                                                                        \
  /* link layer */                                                                                   \
  X(ethernet_malformed)        /* shorter than an Ethernet header */                                 \
  X(ethernet_other_host)       /* unicast to a MAC address that is not ours */                       \
  X(ethernet_vlan)             /* tagged: another network */                                         \
  X(ethernet_type)             /* a protocol that Ferry does not speak */                            \
  X(ethernet_loop)             /* our own frame came back */                                         \
  /* ARP */                                                                                          \
  X(arp_malformed)                                                                                   \
  X(arp_sender)                /* impossible sender address */                                       \
  X(arp_not_ours)              /* neither about us nor about a neighbour we know */                  \
  X(arp_queue_full)            /* waiting for a neighbour's address, bound reached or no memory */   \
  X(arp_unresolved)            /* the neighbour never answered */                                    \
  /* IPv4 in */                                                                                      \
  X(ip_malformed)                                                                                    \
  X(ip_checksum)                                                                                     \
  X(ip_source_address)         /* broadcast, multicast, loopback from outside, or our own */         \
  X(ip_source_route)                                                                                 \
  X(ip_not_ours)               /* no address of ours; Ferry does not forward */                      \
  X(ip_protocol)               /* nobody speaks this transport protocol */                           \
  X(fragment_malformed)        /* length not a multiple of 8, or beyond 65535 */                     \
  X(fragment_overlap)          /* the whole datagram is given up (RFC 5722) */                       \
  X(fragment_memory)           /* bound on memory, datagrams or holes reached */                     \
  X(fragment_timeout)          /* datagrams not completed in time */                                 \
  /* IPv4 out */                                                                                     \
  X(ip_no_route)                                                                                     \
  X(ip_too_big)                /* needs fragments and must not have them, or beyond 65535 */         \
  X(ip_payload_gone)           /* payload descriptor no longer readable */                           \
  X(link_refused)              /* the link's queue was full */                                       \
  X(address_tentative)         /* our address is still being probed for, or in conflict */           \
  X(loopback_full)                                                                                   \
  /* ICMP */                                                                                         \
  X(icmp_malformed)                                                                                  \
  X(icmp_checksum)                                                                                   \
  X(icmp_type)                 /* a message that asks nothing of a host */                           \
  X(icmp_quote)                /* an error that quotes nothing we could have sent */                 \
  X(icmp_broadcast)            /* echo to a broadcast address (RFC 1122 section 3.2.2.6) */          \
  X(icmp_rate_limited)         /* an error not sent */                                               \
  /* UDP */                                                                                          \
  X(udp_malformed)                                                                                   \
  X(udp_checksum)                                                                                    \
  X(udp_no_socket)                                                                                   \
  X(udp_queue_full)            /* the receiver has no room */                                        \
  /* TCP, before a connection is found */                                                            \
  X(tcp_malformed)                                                                                   \
  X(tcp_checksum)                                                                                    \
  X(tcp_no_socket)                                                                                   \
  X(tcp_broadcast)             /* a segment to a broadcast or multicast address */                   \
  X(tcp_backlog_full)                                                                                \
  X(tcp_no_memory)                                                                                   \
  X(tcp_other_share)           /* of a flow that another stack behind this address serves */
// clang-format on

enum class Drop : uint8_t {
#define FERRY_DROP_ENUM(name) name,
  FERRY_DROP_REASONS(FERRY_DROP_ENUM)
#undef FERRY_DROP_ENUM
};

#define FERRY_DROP_COUNT(name) +1
inline constexpr uint32_t kDropReasons = 0 FERRY_DROP_REASONS(FERRY_DROP_COUNT);
#undef FERRY_DROP_COUNT

// "drop_arp_malformed".
const char* drop_name(Drop reason);

}  // namespace ferry

// The numbers of tcp/, in one place; each says where it comes from.
#pragma once

#include <cstdint>

#include "base/time.h"

namespace ferry::tcp {

inline constexpr uint16_t kMinMss = 88;                        // Linux's TCP_MIN_MSS: smaller segments are an attack
inline constexpr uint16_t kDefaultMss = 536;                   // RFC 9293 section 3.7.1
inline constexpr uint32_t kTimestampOptionBytes = 12;          // RFC 7323 appendix A: two NOPs in front
inline constexpr uint32_t kMaxBurst = 256u << 10;             // payload of a super-segment: what a receiving Ferry places in one piece

inline constexpr uint32_t kInitialReceiveBuffer = 65536;       // a full unscaled window in the SYN
inline constexpr uint32_t kMaxReceiveBuffer = 6u << 20;        // Linux's tcp_rmem[2]
inline constexpr uint32_t kInitialSendBuffer = 128u << 10;
inline constexpr uint32_t kMaxSendBuffer = 4u << 20;           // Linux's tcp_wmem[2]
inline constexpr uint32_t kMinBuffer = 4096;
inline constexpr uint32_t kMaxSend = 1u << 30;                 // one send(): the queue stays within half the sequence space
inline constexpr uint8_t kReceiveScale = 7;                    // 65535 << 7 is more than kMaxReceiveBuffer

inline constexpr Duration kDelayedAckTime = Duration::ms(40);      // Linux's TCP_DELACK_MIN; RFC 9293 3.8.6.3 allows 500 ms
inline constexpr uint32_t kMaxUnacknowledged = 256u << 10;     // bytes that may wait for the end of a turn
inline constexpr Duration kCorkLimit = Duration::ms(200);      // tcp(7), TCP_CORK
inline constexpr Duration kChallengeInterval = Duration::ms(500);  // RFC 5961 section 7, Linux's tcp_invalid_ratelimit
inline constexpr Duration kFinWait2 = Duration::seconds(60);   // Linux's tcp_fin_timeout
inline constexpr Duration kInitialTimeoutAfterSynLoss = Duration::seconds(3);  // RFC 6298 (5.7)
inline constexpr Duration kTimestampsOutdated = Duration::seconds(24 * 24 * 3600);  // RFC 7323 section 5.5

inline constexpr uint8_t kQuickAcks = 16;                      // Linux's TCP_MAX_QUICKACKS
inline constexpr uint8_t kDuplicateThreshold = 3;              // RFC 5681 section 3.2
inline constexpr uint8_t kMaxRetransmits = 15;                 // Linux's tcp_retries2; RFC 9293 3.8.3's R2
inline constexpr uint8_t kMaxOrphanRetransmits = 8;            // after close(), Linux's tcp_orphan_retries
inline constexpr uint8_t kMaxSynAckRetransmits = 5;            // Linux's tcp_synack_retries

}  // namespace ferry::tcp

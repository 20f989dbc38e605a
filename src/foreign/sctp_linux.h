// The bytes of SCTP's sockets API as Linux programs have them (linux/sctp.h, sctp(7), RFC 6458): control messages, notifications and options.
// usrsctp has the same things with other numbers and layouts, and the same names; so no file includes both.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"
#include "wire/address.h"

namespace ferry::foreign::sctp_linux {

// Names of options that the adapter knows.
enum Option : int {
  kRtoInfo, kInitMsg, kNoDelay, kDisableFragments, kDefaultSendParam, kEvents, kMaxSegment, kStatus, kReceiveInfo, kPeerAddresses,
  kLocalAddresses, kUnknown,
};
Option option_of(int name);

// What a program says with a message.
struct SendInfo {
  uint16_t stream = 0;
  bool unordered = false, abort = false, end = false;
  uint32_t protocol = 0, context = 0;  // `protocol` in network order, as given
  uint32_t lifetime_ms = 0;            // 0: for ever
};
// SCTP_SNDRCV or SCTP_SNDINFO, or the option SCTP_DEFAULT_SEND_PARAM (as SCTP_SNDRCV). Errc::invalid: something else, or too short.
inline constexpr int kSendReceive = 1, kSend = 2, kReceive = 3;
Result<SendInfo> read_send_info(int control_type, ByteSpan bytes);

// What comes with a message.
struct ReceiveInfo {
  uint16_t stream = 0, sequence = 0;
  bool unordered = false;
  uint32_t protocol = 0, context = 0, tsn = 0, cumulative_tsn = 0, association = 0;
};
// As SCTP_SNDRCV or SCTP_RCVINFO; the length.
size_t write_receive_info(int control_type, const ReceiveInfo& info, MutableByteSpan out);

// Subscriptions (SCTP_EVENTS): a byte each.
struct Subscriptions {
  static constexpr size_t kBytes = 14;
  uint8_t on[kBytes] = {};
  bool association() const { return on[1] != 0; }
  bool shutdown() const { return on[5] != 0; }
};

enum class Change : uint16_t { up, lost, restart, shut_down, not_started };  // Linux's sac_state
inline constexpr size_t kMaxNotification = 32;
size_t write_association_change(Change change, uint16_t error, uint16_t out_streams, uint16_t in_streams, uint32_t association,
                                MutableByteSpan out);
size_t write_shutdown(uint32_t association, MutableByteSpan out);

struct Status {
  bool established = false;
  uint32_t association = 0, window = 0;
  uint16_t unacknowledged = 0, pending = 0, in_streams = 0, out_streams = 0;
  uint32_t fragmentation_point = 0;
  wire::Endpoint primary;
  uint32_t congestion_window = 0, rtt_ms = 0, rto_ms = 0, mtu = 0;
};
// struct sctp_status. Errc::invalid: no room.
Result<size_t> write_status(const Status& status, MutableByteSpan out);
// struct sctp_getaddrs with one address.
Result<size_t> write_addresses(const wire::Endpoint& address, MutableByteSpan out);

}  // namespace ferry::foreign::sctp_linux

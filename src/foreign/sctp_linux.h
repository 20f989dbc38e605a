// The bytes of SCTP's sockets API as Linux programs have them (linux/sctp.h, sctp(7), RFC 6458): control messages, notifications and options.
// usrsctp has the same things with other numbers and layouts, and the same names; so no file includes both.
#pragma once

#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "base/result.h"
#include "wire/address.h"

namespace ferry::foreign::sctp_linux {

// Names of options that the adapter knows.
enum Option : int {
  kRtoInfo, kAssociationInfo, kInitMsg, kNoDelay, kAutoClose, kPrimaryAddress, kAdaptation, kDisableFragments, kPathParameters,
  kDefaultSendParam, kDefaultSendInfo, kEvents, kEvent, kMaxSegment, kStatus, kPathInfo, kDelayedSack, kContext, kInterleave,
  kPartialDelivery, kMaxBurst, kAssociationNumber, kAssociationList, kReceiveInfo, kPeerAddresses, kLocalAddresses, kUnknown,
};
Option option_of(int name);

// What a program says with a message.
struct SendInfo {
  uint16_t stream = 0;
  bool unordered = false, abort = false, end = false;
  uint32_t protocol = 0, context = 0;  // `protocol` in network order, as given
  uint32_t lifetime_ms = 0;            // 0: for ever
  uint32_t association = 0;
};
// SCTP_SNDRCV or SCTP_SNDINFO, which the options SCTP_DEFAULT_SEND_PARAM and SCTP_DEFAULT_SNDINFO hold, too. Errc::invalid: something
// else, too short, or flags that are not served.
inline constexpr int kSendReceive = 1, kSend = 2, kReceive = 3;
Result<SendInfo> read_send_info(int control_type, ByteSpan bytes);
size_t write_send_info(int control_type, const SendInfo& info, MutableByteSpan out);

// What comes with a message.
struct ReceiveInfo {
  uint16_t stream = 0, sequence = 0;
  bool unordered = false;
  uint32_t protocol = 0, context = 0, tsn = 0, cumulative_tsn = 0, association = 0;
};
// As SCTP_SNDRCV or SCTP_RCVINFO; the length.
size_t write_receive_info(int control_type, const ReceiveInfo& info, MutableByteSpan out);

// Kinds of notifications, in the order of Linux's numbers for them (0x8000 + kind) and of the bytes of SCTP_EVENTS.
enum class Kind : uint8_t {
  data_io, association, address, send_failure, remote_error, shutdown, partial_delivery, adaptation, authentication, sender_dry,
  stream_reset, association_reset, stream_change, send_failure_event,
};
// Subscriptions (SCTP_EVENTS): a byte each.
struct Subscriptions {
  static constexpr size_t kBytes = 14;
  uint8_t on[kBytes] = {};
  bool wants(Kind kind) const { return on[static_cast<size_t>(kind)] != 0; }
};
// SCTP_EVENT: one of them, of an association or of those that are meant by kFuture, kCurrent and kAll.
inline constexpr uint32_t kFuture = 0, kCurrent = 1, kAll = 2;
struct Subscription {
  uint32_t association = 0;
  Kind kind = Kind::data_io;
  bool on = false;
};
Result<Subscription> read_subscription(ByteSpan bytes);

enum class Change : uint16_t { up, lost, restart, shut_down, not_started };  // Linux's sac_state
// A notification; which members mean something depends on its kind.
struct Notification {
  Kind kind = Kind::association;
  uint32_t association = 0;
  Change change = Change::up;                    // association
  uint32_t error = 0;
  bool by_peer = false;                          // association: the peer has ended it
  uint16_t out_streams = 0, in_streams = 0;      // association
  wire::Endpoint address;                        // address
  uint32_t state = 0;                            // address: Linux's spc_state; adaptation, partial_delivery: the indication
  bool was_sent = false;                         // send_failure
  SendInfo message;                              // send_failure; partial_delivery: its stream
  uint32_t more = 0;                             // bytes that follow what write_notification writes
};
inline constexpr size_t kMaxNotification = 160;
// 0: no such kind, or no room.
size_t write_notification(const Notification& n, MutableByteSpan out);

// Linux's sstat_state.
enum class State : int32_t {
  closed = 1, cookie_wait, cookie_echoed, established, shutdown_pending, shutdown_sent, shutdown_received, shutdown_ack_sent,
};
struct PathInfo {
  uint32_t association = 0;
  wire::Endpoint address;
  bool active = true;
  uint32_t congestion_window = 0, rtt_ms = 0, rto_ms = 0, mtu = 0;
};
struct Status {
  State state = State::closed;
  uint32_t association = 0, window = 0;
  uint16_t unacknowledged = 0, pending = 0, in_streams = 0, out_streams = 0;
  uint32_t fragmentation_point = 0;
  PathInfo primary;
};
// struct sctp_status. Errc::invalid: no room.
Result<size_t> write_status(const Status& status, MutableByteSpan out);
// struct sctp_paddrinfo. What is asked: an association, or the one with an address (port 0: by number).
Result<PathInfo> read_path_info(ByteSpan bytes);
Result<size_t> write_path_info(const PathInfo& info, MutableByteSpan out);
// struct sctp_getaddrs, with as many of the addresses as there is room for.
Result<size_t> write_addresses(std::span<const wire::Endpoint> addresses, MutableByteSpan out);

// struct sctp_assocparams.
struct AssociationParameters {
  uint32_t association = 0;
  uint16_t max_retransmissions = 0, destinations = 0;
  uint32_t peer_window = 0, local_window = 0, cookie_life_ms = 0;
};
Result<AssociationParameters> read_association(ByteSpan bytes);
Result<size_t> write_association(const AssociationParameters& parameters, MutableByteSpan out);

// struct sctp_paddrparams, as much of it as is served. `flags`: SPP_HB_….
struct PathParameters {
  uint32_t association = 0, heartbeat_ms = 0, mtu = 0, flags = 0;
  uint16_t max_retransmissions = 0;
  wire::Endpoint address;  // port 0: none given
};
Result<PathParameters> read_path_parameters(ByteSpan bytes);
Result<size_t> write_path_parameters(const PathParameters& parameters, MutableByteSpan out);

}  // namespace ferry::foreign::sctp_linux

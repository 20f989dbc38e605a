#include "foreign/sctp_linux.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <linux/sctp.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace ferry::foreign::sctp_linux {
namespace {

static_assert(kSendReceive == SCTP_SNDRCV && kSend == SCTP_SNDINFO && kReceive == SCTP_RCVINFO);
static_assert(sizeof(sctp_sndrcvinfo) == 32 && sizeof(sctp_rcvinfo) == 28 && sizeof(sctp_sndinfo) == 16);
static_assert(sizeof(sctp_event_subscribe) == Subscriptions::kBytes);
static_assert(sizeof(sctp_paddr_change) <= kMaxNotification && sizeof(sctp_send_failed) <= kMaxNotification);
static_assert(SCTP_SEND_FAILED_EVENT - SCTP_SN_TYPE_BASE == static_cast<int>(Kind::send_failure_event));
static_assert(SCTP_SHUTDOWN_ACK_SENT == static_cast<int>(State::shutdown_ack_sent));
static_assert(kFuture == SCTP_FUTURE_ASSOC && kCurrent == SCTP_CURRENT_ASSOC && kAll == SCTP_ALL_ASSOC);

template <typename T>
bool read(ByteSpan bytes, T& value) {
  if (bytes.size() < sizeof value) return false;
  std::memcpy(&value, bytes.data(), sizeof value);
  return true;
}

template <typename T>
size_t write(const T& value, MutableByteSpan out) {
  if (out.size() < sizeof value) return 0;
  std::memcpy(out.data(), &value, sizeof value);
  return sizeof value;
}

// False: SCTP_SENDALL and others that are not served. SCTP_ADDR_OVER and SCTP_SACK_IMMEDIATELY ask for nothing that matters here.
bool apply_flags(uint16_t flags, SendInfo& info) {
  info.unordered = (flags & SCTP_UNORDERED) != 0;
  info.abort = (flags & SCTP_ABORT) != 0;
  info.end = (flags & SCTP_EOF) != 0;
  return (flags & ~(SCTP_UNORDERED | SCTP_ABORT | SCTP_EOF | SCTP_ADDR_OVER | SCTP_SACK_IMMEDIATELY)) == 0;
}

uint16_t flags_of(const SendInfo& info) {
  return static_cast<uint16_t>((info.unordered ? SCTP_UNORDERED : 0) | (info.abort ? SCTP_ABORT : 0) | (info.end ? SCTP_EOF : 0));
}

sockaddr_in to_sockaddr(const wire::Endpoint& e) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(e.port);
  a.sin_addr.s_addr = htonl(e.address.is_v4() ? e.address.v4().value : 0);
  return a;
}

// An address that a structure may hold. Errc::invalid: neither IPv4 nor none.
Result<wire::Endpoint> to_endpoint(const sockaddr_storage& storage) {
  if (storage.ss_family == 0) return wire::Endpoint{};
  if (storage.ss_family == AF_INET6) {
    sockaddr_in6 a;
    std::memcpy(&a, &storage, sizeof a);
    if (IN6_IS_ADDR_UNSPECIFIED(&a.sin6_addr)) return wire::Endpoint{};
    if (!IN6_IS_ADDR_V4MAPPED(&a.sin6_addr)) return Errc::invalid;
    uint32_t v4;
    std::memcpy(&v4, &a.sin6_addr.s6_addr[12], sizeof v4);
    return wire::Endpoint{wire::IpAddress::from(wire::Ipv4Address{ntohl(v4)}), ntohs(a.sin6_port)};
  }
  if (storage.ss_family != AF_INET) return Errc::invalid;
  sockaddr_in a;
  std::memcpy(&a, &storage, sizeof a);
  if (a.sin_addr.s_addr == 0) return wire::Endpoint{};
  return wire::Endpoint{wire::IpAddress::from(wire::Ipv4Address{ntohl(a.sin_addr.s_addr)}), ntohs(a.sin_port)};
}

sctp_paddrinfo to_linux(const PathInfo& info) {
  sctp_paddrinfo p{};
  const sockaddr_in address = to_sockaddr(info.address);
  std::memcpy(&p.spinfo_address, &address, sizeof address);
  p.spinfo_assoc_id = static_cast<sctp_assoc_t>(info.association);
  p.spinfo_state = info.active ? SCTP_ACTIVE : SCTP_INACTIVE;
  p.spinfo_cwnd = info.congestion_window;
  p.spinfo_srtt = info.rtt_ms;
  p.spinfo_rto = info.rto_ms;
  p.spinfo_mtu = info.mtu;
  return p;
}

}  // namespace

Option option_of(int name) {
  switch (name) {
    case SCTP_RTOINFO: return kRtoInfo;
    case SCTP_ASSOCINFO: return kAssociationInfo;
    case SCTP_AUTOCLOSE: return kAutoClose;
    case SCTP_PRIMARY_ADDR: return kPrimaryAddress;
    case SCTP_ADAPTATION_LAYER: return kAdaptation;
    case SCTP_PEER_ADDR_PARAMS: return kPathParameters;
    case SCTP_DEFAULT_SNDINFO: return kDefaultSendInfo;
    case SCTP_EVENT: return kEvent;
    case SCTP_GET_PEER_ADDR_INFO: return kPathInfo;
    case SCTP_DELAYED_SACK: return kDelayedSack;
    case SCTP_CONTEXT: return kContext;
    case SCTP_FRAGMENT_INTERLEAVE: return kInterleave;
    case SCTP_PARTIAL_DELIVERY_POINT: return kPartialDelivery;
    case SCTP_MAX_BURST: return kMaxBurst;
    case SCTP_GET_ASSOC_NUMBER: return kAssociationNumber;
    case SCTP_GET_ASSOC_ID_LIST: return kAssociationList;
    case SCTP_INITMSG: return kInitMsg;
    case SCTP_NODELAY: return kNoDelay;
    case SCTP_DISABLE_FRAGMENTS: return kDisableFragments;
    case SCTP_DEFAULT_SEND_PARAM: return kDefaultSendParam;
    case SCTP_EVENTS: return kEvents;
    case SCTP_MAXSEG: return kMaxSegment;
    case SCTP_STATUS: return kStatus;
    case SCTP_RECVRCVINFO: return kReceiveInfo;
    case SCTP_GET_PEER_ADDRS: return kPeerAddresses;
    case SCTP_GET_LOCAL_ADDRS: return kLocalAddresses;
    default: return kUnknown;
  }
}

Result<SendInfo> read_send_info(int control_type, ByteSpan bytes) {
  SendInfo info;
  if (sctp_sndrcvinfo both; control_type == SCTP_SNDRCV && read(bytes, both)) {
    info.stream = both.sinfo_stream;
    info.protocol = both.sinfo_ppid;
    info.context = both.sinfo_context;
    info.lifetime_ms = both.sinfo_timetolive;
    info.association = static_cast<uint32_t>(both.sinfo_assoc_id);
    if (!apply_flags(both.sinfo_flags, info)) return Errc::invalid;
    return info;
  }
  if (sctp_sndinfo send; control_type == SCTP_SNDINFO && read(bytes, send)) {
    info.stream = send.snd_sid;
    info.protocol = send.snd_ppid;
    info.context = send.snd_context;
    info.association = static_cast<uint32_t>(send.snd_assoc_id);
    if (!apply_flags(send.snd_flags, info)) return Errc::invalid;
    return info;
  }
  return Errc::invalid;
}

size_t write_send_info(int control_type, const SendInfo& info, MutableByteSpan out) {
  if (control_type == SCTP_SNDINFO) {
    const sctp_sndinfo send{info.stream, flags_of(info), info.protocol, info.context, static_cast<sctp_assoc_t>(info.association)};
    return write(send, out);
  }
  sctp_sndrcvinfo both{};
  both.sinfo_stream = info.stream;
  both.sinfo_flags = flags_of(info);
  both.sinfo_ppid = info.protocol;
  both.sinfo_context = info.context;
  both.sinfo_timetolive = info.lifetime_ms;
  both.sinfo_assoc_id = static_cast<sctp_assoc_t>(info.association);
  return write(both, out);
}

size_t write_receive_info(int control_type, const ReceiveInfo& info, MutableByteSpan out) {
  const auto flags = static_cast<uint16_t>(info.unordered ? SCTP_UNORDERED : 0);
  if (control_type == SCTP_RCVINFO) {
    sctp_rcvinfo r{};
    r.rcv_sid = info.stream;
    r.rcv_ssn = info.sequence;
    r.rcv_flags = flags;
    r.rcv_ppid = info.protocol;
    r.rcv_tsn = info.tsn;
    r.rcv_cumtsn = info.cumulative_tsn;
    r.rcv_context = info.context;
    r.rcv_assoc_id = static_cast<sctp_assoc_t>(info.association);
    return write(r, out);
  }
  sctp_sndrcvinfo r{};
  r.sinfo_stream = info.stream;
  r.sinfo_ssn = info.sequence;
  r.sinfo_flags = flags;
  r.sinfo_ppid = info.protocol;
  r.sinfo_context = info.context;
  r.sinfo_tsn = info.tsn;
  r.sinfo_cumtsn = info.cumulative_tsn;
  r.sinfo_assoc_id = static_cast<sctp_assoc_t>(info.association);
  return write(r, out);
}

Result<Subscription> read_subscription(ByteSpan bytes) {
  sctp_event event;
  if (!read(bytes, event) || event.se_type < SCTP_SN_TYPE_BASE || event.se_type > SCTP_SN_TYPE_MAX) return Errc::invalid;
  return Subscription{static_cast<uint32_t>(event.se_assoc_id), static_cast<Kind>(event.se_type - SCTP_SN_TYPE_BASE), event.se_on != 0};
}

Result<size_t> write_status(const Status& s, MutableByteSpan out) {
  sctp_status status{};
  status.sstat_assoc_id = static_cast<sctp_assoc_t>(s.association);
  status.sstat_state = static_cast<int32_t>(s.state);
  status.sstat_rwnd = s.window;
  status.sstat_unackdata = s.unacknowledged;
  status.sstat_penddata = s.pending;
  status.sstat_instrms = s.in_streams;
  status.sstat_outstrms = s.out_streams;
  status.sstat_fragmentation_point = s.fragmentation_point;
  status.sstat_primary = to_linux(s.primary);
  if (const size_t n = write(status, out); n > 0) return n;
  return Errc::invalid;
}

Result<PathInfo> read_path_info(ByteSpan bytes) {
  sctp_paddrinfo asked;
  if (!read(bytes, asked)) return Errc::invalid;
  auto address = to_endpoint(asked.spinfo_address);
  if (!address) return address.error();
  PathInfo info;
  info.association = static_cast<uint32_t>(asked.spinfo_assoc_id);
  info.address = *address;
  return info;
}

Result<size_t> write_path_info(const PathInfo& info, MutableByteSpan out) {
  if (const size_t n = write(to_linux(info), out); n > 0) return n;
  return Errc::invalid;
}

Result<size_t> write_addresses(std::span<const wire::Endpoint> addresses, MutableByteSpan out) {
  constexpr size_t kHead = offsetof(sctp_getaddrs, addrs);
  if (out.size() < kHead + sizeof(sockaddr_in)) return Errc::invalid;
  sctp_getaddrs head{};
  size_t at = kHead;
  for (const wire::Endpoint& address : addresses) {
    const sockaddr_in one = to_sockaddr(address);
    if (out.size() - at < sizeof one) break;
    std::memcpy(out.data() + at, &one, sizeof one);
    at += sizeof one;
    ++head.addr_num;
  }
  std::memcpy(out.data(), &head, kHead);
  return at;
}

Result<AssociationParameters> read_association(ByteSpan bytes) {
  sctp_assocparams p;
  if (!read(bytes, p)) return Errc::invalid;
  return AssociationParameters{static_cast<uint32_t>(p.sasoc_assoc_id), p.sasoc_asocmaxrxt, p.sasoc_number_peer_destinations,
                               p.sasoc_peer_rwnd, p.sasoc_local_rwnd, p.sasoc_cookie_life};
}

Result<size_t> write_association(const AssociationParameters& a, MutableByteSpan out) {
  const sctp_assocparams p{static_cast<sctp_assoc_t>(a.association), a.max_retransmissions, a.destinations, a.peer_window,
                           a.local_window, a.cookie_life_ms};
  if (const size_t n = write(p, out); n > 0) return n;
  return Errc::invalid;
}

Result<PathParameters> read_path_parameters(ByteSpan bytes) {
  sctp_paddrparams p{};
  if (bytes.size() < offsetof(sctp_paddrparams, spp_ipv6_flowlabel)) return Errc::invalid;  // as it was before Linux 4.19
  std::memcpy(&p, bytes.data(), std::min(bytes.size(), sizeof p));
  auto address = to_endpoint(p.spp_address);
  if (!address) return address.error();
  return PathParameters{static_cast<uint32_t>(p.spp_assoc_id), p.spp_hbinterval, p.spp_pathmtu, p.spp_flags, p.spp_pathmaxrxt, *address};
}

Result<size_t> write_path_parameters(const PathParameters& a, MutableByteSpan out) {
  sctp_paddrparams p{};
  p.spp_assoc_id = static_cast<sctp_assoc_t>(a.association);
  const sockaddr_in address = to_sockaddr(a.address);
  if (a.address.port != 0) std::memcpy(&p.spp_address, &address, sizeof address);
  p.spp_hbinterval = a.heartbeat_ms;
  p.spp_pathmaxrxt = a.max_retransmissions;
  p.spp_pathmtu = a.mtu;
  p.spp_flags = a.flags;
  if (const size_t n = write(p, out); n > 0) return n;
  return Errc::invalid;
}

}  // namespace ferry::foreign::sctp_linux

#include "foreign/sctp_linux.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <linux/sctp.h>

#include <cstddef>
#include <cstring>

namespace ferry::foreign::sctp_linux {
namespace {

static_assert(kSendReceive == SCTP_SNDRCV && kSend == SCTP_SNDINFO && kReceive == SCTP_RCVINFO);
static_assert(sizeof(sctp_sndrcvinfo) == 32 && sizeof(sctp_rcvinfo) == 28 && sizeof(sctp_sndinfo) == 16);
static_assert(sizeof(sctp_event_subscribe) == Subscriptions::kBytes);
static_assert(sizeof(sctp_assoc_change) <= kMaxNotification && sizeof(sctp_shutdown_event) <= kMaxNotification);

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

void apply_flags(uint16_t flags, SendInfo& info) {
  info.unordered = (flags & SCTP_UNORDERED) != 0;
  info.abort = (flags & SCTP_ABORT) != 0;
  info.end = (flags & SCTP_EOF) != 0;
}

sockaddr_in to_sockaddr(const wire::Endpoint& e) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(e.port);
  a.sin_addr.s_addr = htonl(e.address.is_v4() ? e.address.v4().value : 0);
  return a;
}

}  // namespace

Option option_of(int name) {
  switch (name) {
    case SCTP_RTOINFO: return kRtoInfo;
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
    apply_flags(both.sinfo_flags, info);
    return info;
  }
  if (sctp_sndinfo send; control_type == SCTP_SNDINFO && read(bytes, send)) {
    info.stream = send.snd_sid;
    info.protocol = send.snd_ppid;
    info.context = send.snd_context;
    apply_flags(send.snd_flags, info);
    return info;
  }
  return Errc::invalid;
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

size_t write_association_change(Change change, uint16_t error, uint16_t out_streams, uint16_t in_streams, uint32_t association,
                                MutableByteSpan out) {
  sctp_assoc_change n{};
  n.sac_type = SCTP_ASSOC_CHANGE;
  n.sac_length = sizeof n;
  n.sac_state = static_cast<uint16_t>(change);
  n.sac_error = error;
  n.sac_outbound_streams = out_streams;
  n.sac_inbound_streams = in_streams;
  n.sac_assoc_id = static_cast<sctp_assoc_t>(association);
  return write(n, out);
}

size_t write_shutdown(uint32_t association, MutableByteSpan out) {
  sctp_shutdown_event n{};
  n.sse_type = SCTP_SHUTDOWN_EVENT;
  n.sse_length = sizeof n;
  n.sse_assoc_id = static_cast<sctp_assoc_t>(association);
  return write(n, out);
}

Result<size_t> write_status(const Status& s, MutableByteSpan out) {
  sctp_status status{};
  status.sstat_assoc_id = static_cast<sctp_assoc_t>(s.association);
  status.sstat_state = s.established ? SCTP_ESTABLISHED : SCTP_CLOSED;
  status.sstat_rwnd = s.window;
  status.sstat_unackdata = s.unacknowledged;
  status.sstat_penddata = s.pending;
  status.sstat_instrms = s.in_streams;
  status.sstat_outstrms = s.out_streams;
  status.sstat_fragmentation_point = s.fragmentation_point;
  const sockaddr_in primary = to_sockaddr(s.primary);
  std::memcpy(&status.sstat_primary.spinfo_address, &primary, sizeof primary);
  status.sstat_primary.spinfo_assoc_id = status.sstat_assoc_id;
  status.sstat_primary.spinfo_state = SCTP_ACTIVE;
  status.sstat_primary.spinfo_cwnd = s.congestion_window;
  status.sstat_primary.spinfo_srtt = s.rtt_ms;
  status.sstat_primary.spinfo_rto = s.rto_ms;
  status.sstat_primary.spinfo_mtu = s.mtu;
  if (const size_t n = write(status, out); n > 0) return n;
  return Errc::invalid;
}

Result<size_t> write_addresses(const wire::Endpoint& address, MutableByteSpan out) {
  const sockaddr_in one = to_sockaddr(address);
  sctp_getaddrs head{};
  head.addr_num = 1;
  constexpr size_t kHead = offsetof(sctp_getaddrs, addrs);
  if (out.size() < kHead + sizeof one) return Errc::invalid;
  std::memcpy(out.data(), &head, kHead);
  std::memcpy(out.data() + kHead, &one, sizeof one);
  return kHead + sizeof one;
}

}  // namespace ferry::foreign::sctp_linux

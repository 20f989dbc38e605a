// Options of usrsctp's sockets: the program's numbers and layouts are Linux's (sctp_linux.h). See usrsctp_server.h.
#include <usrsctp.h>

#include <algorithm>
#include <cstring>

#include "foreign/usrsctp_server.h"
#include "foreign/usrsctp_values.h"

namespace ferry::foreign {
namespace {

using stack::Option;
namespace lx = sctp_linux;

// What the program gives is an int, or a structure with the association in front.
Result<uint32_t> last_number(ByteSpan value) {
  if (value.size() != 4 && value.size() != 8) return Errc::invalid;
  uint32_t n = 0;
  std::memcpy(&n, value.data() + value.size() - 4, 4);
  return n;
}

Errc pass(usrsctp_socket_t* so, int name, const void* value, size_t length) {
  if (so == nullptr) return Errc::invalid;
  return usrsctp_setsockopt(so, IPPROTO_SCTP, name, value, static_cast<socklen_t>(length)) == 0 ? Errc::ok : to_errc(errno);
}

}  // namespace

// Never blocking, told of associations, with packets that fit a link of `mtu`.
bool UsrsctpServer::set_up(usrsctp_socket_t* so, uint32_t mtu) {
  if (usrsctp_set_non_blocking(so, 1) != 0) return false;
  const int on = 1;
  if (usrsctp_setsockopt(so, IPPROTO_SCTP, SCTP_RECVRCVINFO, &on, sizeof on) != 0) return false;
  for (uint16_t type : {SCTP_ASSOC_CHANGE, SCTP_SHUTDOWN_EVENT}) {
    sctp_event event{};
    event.se_assoc_id = SCTP_FUTURE_ASSOC;
    event.se_type = type;
    event.se_on = 1;
    if (usrsctp_setsockopt(so, IPPROTO_SCTP, SCTP_EVENT, &event, sizeof event) != 0) return false;
  }
  sctp_paddrparams path{};
  path.spp_flags = SPP_PMTUD_DISABLE;
  path.spp_pathmtu = mtu - 32;  // IPv4's header, and SCTP's common one, which usrsctp adds for such addresses
  return usrsctp_setsockopt(so, IPPROTO_SCTP, SCTP_PEER_ADDR_PARAMS, &path, sizeof path) == 0;
}

Errc UsrsctpServer::set_option(SctpSocket& s, Option option, int64_t value) {
  switch (option) {
    case Option::linger: s.linger_s = static_cast<int32_t>(value); return Errc::ok;
    // Ports are shared with nobody, buffers are usrsctp's; programs ask for these in hope, as they do on Linux.
    case Option::reuse_address:
    case Option::receive_buffer:
    case Option::send_buffer: return Errc::ok;
    default: return Errc::no_protocol_option;
  }
}

Result<int64_t> UsrsctpServer::option(const stack::Socket& any, Option option) const {
  const auto& s = static_cast<const SctpSocket&>(any);
  switch (option) {
    case Option::linger: return int64_t{s.linger_s};
    case Option::reuse_address: return int64_t{0};
    case Option::receive_buffer: return int64_t{usrsctp_sysctl_get_sctp_recvspace()};
    case Option::send_buffer: return int64_t{usrsctp_sysctl_get_sctp_sendspace()};
    default: return Errc::no_protocol_option;
  }
}

Errc UsrsctpServer::set_protocol_option(SctpSocket& s, int name, ByteSpan value) {
  switch (lx::option_of(name)) {
    case lx::kInitMsg:  // the same in both
      if (value.size() < sizeof(sctp_initmsg)) return Errc::invalid;
      return pass(s.so, SCTP_INITMSG, value.data(), sizeof(sctp_initmsg));
    case lx::kRtoInfo: {
      sctp_rtoinfo rto;
      if (value.size() < sizeof rto) return Errc::invalid;
      std::memcpy(&rto, value.data(), sizeof rto);
      rto.srto_assoc_id = 0;
      return pass(s.so, SCTP_RTOINFO, &rto, sizeof rto);
    }
    case lx::kNoDelay:
    case lx::kDisableFragments: {
      auto n = last_number(value);
      if (!n) return n.error();
      return pass(s.so, lx::option_of(name) == lx::kNoDelay ? SCTP_NODELAY : SCTP_DISABLE_FRAGMENTS, &*n, sizeof *n);
    }
    case lx::kMaxSegment: {
      auto n = last_number(value);
      if (!n) return n.error();
      const sctp_assoc_value segment{0, *n};
      return pass(s.so, SCTP_MAXSEG, &segment, sizeof segment);
    }
    case lx::kReceiveInfo: {
      auto n = last_number(value);
      if (!n) return n.error();
      s.wants_receive_info = *n != 0;
      return Errc::ok;
    }
    case lx::kEvents:
      s.subscriptions = {};
      std::memcpy(s.subscriptions.on, value.data(), std::min(value.size(), lx::Subscriptions::kBytes));
      return Errc::ok;
    case lx::kDefaultSendParam: {
      auto info = lx::read_send_info(lx::kSendReceive, value);
      if (!info) return info.error();
      s.defaults = *info;
      return Errc::ok;
    }
    default: return Errc::no_protocol_option;
  }
}

Result<size_t> UsrsctpServer::protocol_option(const stack::Socket& any, int name, MutableByteSpan value, size_t length) const {
  const auto& s = static_cast<const SctpSocket&>(any);
  const auto give = [&](const void* bytes, size_t n) {
    n = std::min({n, value.size(), length});
    std::memcpy(value.data(), bytes, n);
    return n;
  };
  const auto ask = [&](int own_name, size_t n) -> Result<size_t> {
    std::byte answer[64] = {};
    socklen_t size = static_cast<socklen_t>(n);
    if (s.so == nullptr) return Errc::invalid;
    if (usrsctp_getsockopt(s.so, IPPROTO_SCTP, own_name, answer, &size) != 0) return to_errc(errno);
    return give(answer, size);
  };
  switch (lx::option_of(name)) {
    case lx::kInitMsg: return ask(SCTP_INITMSG, sizeof(sctp_initmsg));
    case lx::kRtoInfo: return ask(SCTP_RTOINFO, sizeof(sctp_rtoinfo));
    case lx::kNoDelay: return ask(SCTP_NODELAY, sizeof(uint32_t));
    case lx::kDisableFragments: return ask(SCTP_DISABLE_FRAGMENTS, sizeof(uint32_t));
    case lx::kEvents: return give(s.subscriptions.on, lx::Subscriptions::kBytes);
    case lx::kReceiveInfo: {
      const uint32_t on = s.wants_receive_info;
      return give(&on, sizeof on);
    }
    case lx::kPeerAddresses: return s.remote.port == 0 ? Result<size_t>(Errc::not_connected) : lx::write_addresses(s.remote, value);
    case lx::kLocalAddresses: return lx::write_addresses(s.local, value);
    case lx::kMaxSegment: {
      sctp_assoc_value segment{};
      socklen_t size = sizeof segment;
      if (s.so == nullptr || usrsctp_getsockopt(s.so, IPPROTO_SCTP, SCTP_MAXSEG, &segment, &size) != 0) return Errc::invalid;
      return length == sizeof(uint32_t) ? give(&segment.assoc_value, sizeof segment.assoc_value) : give(&segment, sizeof segment);
    }
    case lx::kStatus: {
      sctp_status own{};
      socklen_t size = sizeof own;
      if (s.so == nullptr || usrsctp_getsockopt(s.so, IPPROTO_SCTP, SCTP_STATUS, &own, &size) != 0) return Errc::invalid;
      lx::Status status;
      status.established = s.established;
      status.association = own.sstat_assoc_id;
      status.window = own.sstat_rwnd;
      status.unacknowledged = own.sstat_unackdata;
      status.pending = own.sstat_penddata;
      status.in_streams = own.sstat_instrms;
      status.out_streams = own.sstat_outstrms;
      status.fragmentation_point = own.sstat_fragmentation_point;
      status.primary = s.remote;
      status.congestion_window = own.sstat_primary.spinfo_cwnd;
      status.rtt_ms = own.sstat_primary.spinfo_srtt;
      status.rto_ms = own.sstat_primary.spinfo_rto;
      status.mtu = own.sstat_primary.spinfo_mtu;
      return lx::write_status(status, value);
    }
    default: return Errc::no_protocol_option;
  }
}

}  // namespace ferry::foreign

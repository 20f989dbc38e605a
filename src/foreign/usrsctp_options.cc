// Options of usrsctp's sockets: the program's numbers and layouts are Linux's (sctp_linux.h). See usrsctp_server.h.
#include <usrsctp.h>

#include <algorithm>

#include "foreign/usrsctp_server.h"
#include "foreign/usrsctp_option_bytes.h"
#include "foreign/usrsctp_values.h"

namespace ferry::foreign {
namespace {

using stack::Option;
namespace lx = sctp_linux;

Errc set_number(usrsctp_socket_t* so, int name, ByteSpan value) {
  auto n = last_number(value);
  return n ? pass(so, name, &*n, sizeof *n) : n.error();
}

// Whether the wish is about the association, which is there.
bool means(const lx::Subscription& wish, uint32_t association) {
  return wish.association == association || wish.association == lx::kAll || wish.association == lx::kCurrent;
}

// usrsctp's number of a kind that it is told of only when somebody wants it; 0: it always tells, or never.
uint16_t own_event(lx::Kind kind) {
  switch (kind) {
    case lx::Kind::address: return SCTP_PEER_ADDR_CHANGE;
    case lx::Kind::send_failure:
    case lx::Kind::send_failure_event: return SCTP_SEND_FAILED_EVENT;
    case lx::Kind::remote_error: return SCTP_REMOTE_ERROR;
    case lx::Kind::partial_delivery: return SCTP_PARTIAL_DELIVERY_EVENT;
    case lx::Kind::adaptation: return SCTP_ADAPTATION_INDICATION;
    case lx::Kind::sender_dry: return SCTP_SENDER_DRY_EVENT;
    default: return 0;
  }
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
  const uint32_t no_interleave = 0;  // of pieces of messages, as on Linux
  if (usrsctp_setsockopt(so, IPPROTO_SCTP, SCTP_FRAGMENT_INTERLEAVE, &no_interleave, sizeof no_interleave) != 0) return false;
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

// What the program has set, and is kept for open_again(). Of one-to-one sockets; only known options are taken, so they are few.
Errc UsrsctpServer::choose(SctpSocket& s, int name, ByteSpan value) {
  const Errc error = set_protocol_option(s, name, value);
  const lx::Option option = lx::option_of(name);
  if (error == Errc::ok && !s.many() && !s.established && option != lx::kEvents && option != lx::kEvent)
    s.chosen[name].assign(value.begin(), value.end());
  return error;
}

Errc UsrsctpServer::set_protocol_option(SctpSocket& s, int name, ByteSpan value) {
  const lx::Option option = lx::option_of(name);
  switch (option) {
    case lx::kInitMsg:  // the same in both
      if (value.size() < sizeof(sctp_initmsg)) return Errc::invalid;
      return pass(s.so, SCTP_INITMSG, value.data(), sizeof(sctp_initmsg));
    case lx::kNoDelay: return set_number(s.so, SCTP_NODELAY, value);
    case lx::kDisableFragments: return set_number(s.so, SCTP_DISABLE_FRAGMENTS, value);
    case lx::kAdaptation: return set_number(s.so, SCTP_ADAPTATION_LAYER, value);
    case lx::kPartialDelivery: return set_number(s.so, SCTP_PARTIAL_DELIVERY_POINT, value);
    case lx::kAutoClose: return s.many() ? set_number(s.so, SCTP_AUTOCLOSE, value) : Errc::not_supported;
    case lx::kInterleave: {  // of several associations' messages: usrsctp's levels begin there, too
      auto n = last_number(value);
      if (!n || !s.many()) return !n ? n.error() : Errc::not_supported;
      return *n <= 1 ? pass(s.so, SCTP_FRAGMENT_INTERLEAVE, &*n, sizeof *n) : Errc::invalid;
    }
    case lx::kReceiveInfo: {
      auto n = last_number(value);
      if (!n) return n.error();
      s.wants_receive_info = *n != 0;
      return Errc::ok;
    }
    case lx::kEvents: return subscribe_all(s, value);
    case lx::kEvent: {
      auto subscription = lx::read_subscription(value);
      return subscription ? subscribe(s, *subscription) : subscription.error();
    }
    case lx::kDefaultSendParam:
    case lx::kDefaultSendInfo: {
      auto info = lx::read_send_info(option == lx::kDefaultSendParam ? lx::kSendReceive : lx::kSend, value);
      if (!info) return info.error();
      s.defaults = *info;
      return Errc::ok;
    }
    default: return set_association_option(s, name, value);
  }
}

// Tells usrsctp of the kinds that it is not told of at the beginning.
Errc UsrsctpServer::subscribe(SctpSocket& s, const lx::Subscription& wish) {
  const auto kind = static_cast<size_t>(wish.kind);
  const bool general = wish.association <= lx::kAll || !s.many();
  if (!general && !s.associations.contains(wish.association)) return Errc::invalid;
  if (wish.association != lx::kCurrent && general) s.subscriptions.on[kind] = wish.on;
  for (auto& [id, association] : s.associations)
    if (means(wish, id)) association.subscriptions.on[kind] = wish.on;
  sctp_event event{0, own_event(wish.kind), wish.on};
  if (event.se_type == 0 || s.so == nullptr) return Errc::ok;
  if (general && (wish.association != lx::kCurrent || !s.many())) {
    if (const Errc e = pass(s.so, SCTP_EVENT, &event, sizeof event); e != Errc::ok) return e;
  }
  for (const auto& [id, association] : s.associations) {  // usrsctp does not take "all" for every kind
    event.se_assoc_id = id;
    if (means(wish, id)) (void)pass(s.so, SCTP_EVENT, &event, sizeof event);
  }
  return Errc::ok;
}

Errc UsrsctpServer::subscribe_all(SctpSocket& s, ByteSpan value) {
  if (value.size() > lx::Subscriptions::kBytes) return Errc::invalid;
  for (size_t kind = 0; kind < lx::Subscriptions::kBytes; ++kind) {
    const bool on = kind < value.size() && value[kind] != std::byte{0};
    const bool was = s.subscriptions.on[kind] != 0;
    if (on == was && s.associations.empty()) continue;
    if (const Errc e = subscribe(s, {lx::kAll, static_cast<lx::Kind>(kind), on}); e != Errc::ok) return e;
  }
  return Errc::ok;
}

Result<size_t> UsrsctpServer::protocol_option(const stack::Socket& any, int name, MutableByteSpan value, size_t length) const {
  const auto& s = static_cast<const SctpSocket&>(any);
  const auto number = [&](int own_name) -> Result<size_t> {
    uint32_t answer = 0;
    socklen_t size = sizeof answer;
    if (s.so == nullptr) return Errc::invalid;
    if (usrsctp_getsockopt(s.so, IPPROTO_SCTP, own_name, &answer, &size) != 0) return to_errc(errno);
    return give(value, length, &answer, sizeof answer);
  };
  switch (lx::option_of(name)) {
    case lx::kInitMsg: {
      sctp_initmsg answer{};
      socklen_t size = sizeof answer;
      if (s.so == nullptr || usrsctp_getsockopt(s.so, IPPROTO_SCTP, SCTP_INITMSG, &answer, &size) != 0) return Errc::invalid;
      return give(value, length, &answer, sizeof answer);
    }
    case lx::kNoDelay: return number(SCTP_NODELAY);
    case lx::kDisableFragments: return number(SCTP_DISABLE_FRAGMENTS);
    case lx::kAdaptation: return number(SCTP_ADAPTATION_LAYER);
    case lx::kPartialDelivery: return number(SCTP_PARTIAL_DELIVERY_POINT);
    case lx::kInterleave: return number(SCTP_FRAGMENT_INTERLEAVE);
    case lx::kAutoClose: return s.many() ? number(SCTP_AUTOCLOSE) : Result<size_t>(Errc::not_supported);
    case lx::kEvents: return give(value, length, s.subscriptions.on, lx::Subscriptions::kBytes);
    case lx::kEvent: {
      auto asked = lx::read_subscription(value.first(std::min(length, value.size())));
      if (!asked) return asked.error();
      const auto it = s.associations.find(asked->association);
      asked->on = (it != s.associations.end() ? it->second.subscriptions : s.subscriptions).wants(asked->kind);
      value[6] = std::byte{asked->on};
      return size_t{8};
    }
    case lx::kReceiveInfo: {
      const uint32_t on = s.wants_receive_info;
      return give(value, length, &on, sizeof on);
    }
    case lx::kDefaultSendParam: return lx::write_send_info(lx::kSendReceive, s.defaults, value);
    case lx::kDefaultSendInfo: return lx::write_send_info(lx::kSend, s.defaults, value);
    case lx::kPeerAddresses: return address_option(s, true, value, length);
    case lx::kLocalAddresses: return address_option(s, false, value, length);
    case lx::kStatus: return status_option(s, value, length);
    case lx::kPathInfo: return path_option(s, value, length);
    default: return association_option(s, name, value, length);
  }
}

}  // namespace ferry::foreign

// Options of associations, and what one may ask about them. See usrsctp_server.h.
#include <usrsctp.h>

#include <array>

#include "foreign/usrsctp_option_bytes.h"
#include "foreign/usrsctp_server.h"

namespace ferry::foreign {
namespace {

namespace lx = sctp_linux;

// Options whose value is a number that belongs to an association; usrsctp's names.
int number_option(lx::Option option) {
  switch (option) {
    case lx::kMaxSegment: return SCTP_MAXSEG;
    case lx::kContext: return SCTP_CONTEXT;
    case lx::kMaxBurst: return SCTP_MAX_BURST;
    default: return 0;
  }
}

lx::State state_of(int32_t own) {
  switch (own) {
    case SCTP_COOKIE_WAIT: return lx::State::cookie_wait;
    case SCTP_COOKIE_ECHOED: return lx::State::cookie_echoed;
    case SCTP_ESTABLISHED: return lx::State::established;
    case SCTP_SHUTDOWN_PENDING: return lx::State::shutdown_pending;
    case SCTP_SHUTDOWN_SENT: return lx::State::shutdown_sent;
    case SCTP_SHUTDOWN_RECEIVED: return lx::State::shutdown_received;
    case SCTP_SHUTDOWN_ACK_SENT: return lx::State::shutdown_ack_sent;
    default: return lx::State::closed;
  }
}

Errc set_association_parameters(SctpSocket& s, ByteSpan value) {
  auto p = lx::read_association(value);
  if (!p) return p.error();
  sctp_assocparams own{};
  own.sasoc_assoc_id = s.many() ? p->association : 0;
  own.sasoc_asocmaxrxt = p->max_retransmissions;
  own.sasoc_cookie_life = p->cookie_life_ms;
  return pass(s.so, SCTP_ASSOCINFO, &own, sizeof own);
}

// Heartbeats and retransmissions; the size of packets is the link's.
Errc set_path_parameters(SctpSocket& s, ByteSpan value) {
  auto p = lx::read_path_parameters(value);
  if (!p) return p.error();
  sctp_paddrparams own{};
  own.spp_address.ss_family = AF_CONN;  // none given: every address of the association
  own.spp_assoc_id = s.many() ? p->association : 0;
  own.spp_hbinterval = p->heartbeat_ms;
  own.spp_pathmaxrxt = p->max_retransmissions;
  own.spp_flags = p->flags & (SPP_HB_ENABLE | SPP_HB_DISABLE | SPP_HB_DEMAND);
  return pass(s.so, SCTP_PEER_ADDR_PARAMS, &own, sizeof own);
}

lx::PathInfo path_info(const sctp_paddrinfo& own, const wire::Endpoint& address) {
  lx::PathInfo info;
  info.association = own.spinfo_assoc_id;
  info.address = address;
  info.active = (own.spinfo_state & SCTP_INACTIVE) == 0;
  info.congestion_window = own.spinfo_cwnd;
  info.rtt_ms = own.spinfo_srtt;
  info.rto_ms = own.spinfo_rto;
  info.mtu = own.spinfo_mtu;
  return info;
}

}  // namespace

Errc UsrsctpServer::set_association_option(SctpSocket& s, int name, ByteSpan value) {
  const lx::Option option = lx::option_of(name);
  switch (option) {
    case lx::kRtoInfo: {  // the same in both
      sctp_rtoinfo rto;
      if (value.size() < sizeof rto) return Errc::invalid;
      std::memcpy(&rto, value.data(), sizeof rto);
      rto.srto_assoc_id = first_association(s, value);
      return pass(s.so, SCTP_RTOINFO, &rto, sizeof rto);
    }
    case lx::kDelayedSack: {  // likewise
      sctp_sack_info sack;
      if (value.size() < sizeof sack) return Errc::invalid;
      std::memcpy(&sack, value.data(), sizeof sack);
      sack.sack_assoc_id = first_association(s, value);
      return pass(s.so, SCTP_DELAYED_SACK, &sack, sizeof sack);
    }
    case lx::kAssociationInfo: return set_association_parameters(s, value);
    case lx::kPathParameters: return set_path_parameters(s, value);
    case lx::kPrimaryAddress:  // there is one only
    case lx::kMaxSegment:
    case lx::kContext:
    case lx::kMaxBurst: {
      if (option == lx::kPrimaryAddress) return Errc::ok;
      auto n = last_number(value);
      if (!n) return n.error();
      const sctp_assoc_value own{value.size() == 8 ? first_association(s, value) : 0, *n};
      return pass(s.so, number_option(option), &own, sizeof own);
    }
    default: return Errc::no_protocol_option;
  }
}

Result<size_t> UsrsctpServer::association_option(const SctpSocket& s, int name, MutableByteSpan value, size_t length) const {
  const lx::Option option = lx::option_of(name);
  const ByteSpan asked = value.first(std::min(length, value.size()));
  const uint32_t id = first_association(s, asked);
  switch (option) {
    case lx::kRtoInfo: {
      sctp_rtoinfo rto{};
      rto.srto_assoc_id = id;
      if (const Errc e = ask(s.so, SCTP_RTOINFO, rto); e != Errc::ok) return e;
      return give(value, length, &rto, sizeof rto);
    }
    case lx::kDelayedSack: {
      sctp_sack_info sack{};
      sack.sack_assoc_id = id;
      if (const Errc e = ask(s.so, SCTP_DELAYED_SACK, sack); e != Errc::ok) return e;
      return give(value, length, &sack, sizeof sack);
    }
    case lx::kAssociationInfo: {
      sctp_assocparams own{};
      own.sasoc_assoc_id = id;
      if (const Errc e = ask(s.so, SCTP_ASSOCINFO, own); e != Errc::ok) return e;
      return lx::write_association({own.sasoc_assoc_id, own.sasoc_asocmaxrxt, own.sasoc_number_peer_destinations, own.sasoc_peer_rwnd,
                                    own.sasoc_local_rwnd, own.sasoc_cookie_life}, value);
    }
    case lx::kPathParameters: {
      auto wanted = lx::read_path_parameters(asked);
      if (!wanted) return wanted.error();
      sctp_paddrparams own{};
      own.spp_address.ss_family = AF_CONN;
      own.spp_assoc_id = id;
      if (const Errc e = ask(s.so, SCTP_PEER_ADDR_PARAMS, own); e != Errc::ok) return e;
      return lx::write_path_parameters({own.spp_assoc_id, own.spp_hbinterval, own.spp_pathmtu,
                                        own.spp_flags & (SPP_HB_ENABLE | SPP_HB_DISABLE), own.spp_pathmaxrxt, wanted->address}, value);
    }
    case lx::kMaxSegment:
    case lx::kContext:
    case lx::kMaxBurst: {
      sctp_assoc_value own{length >= sizeof own ? id : 0, 0};
      if (const Errc e = ask(s.so, number_option(option), own); e != Errc::ok) return e;
      return length < sizeof own ? give(value, length, &own.assoc_value, sizeof own.assoc_value) : give(value, length, &own, sizeof own);
    }
    case lx::kAssociationNumber:
    case lx::kAssociationList: {
      if (!s.many()) return Errc::not_supported;
      std::array<uint32_t, 64> list{static_cast<uint32_t>(s.associations.size())};
      if (option == lx::kAssociationNumber) return give(value, length, list.data(), sizeof list[0]);
      size_t n = 1;
      for (const auto& [number, association] : s.associations)
        if (n < list.size()) list[n++] = number;
      list[0] = static_cast<uint32_t>(n - 1);
      return give(value, length, list.data(), n * sizeof list[0]);
    }
    default: return Errc::no_protocol_option;
  }
}

Result<size_t> UsrsctpServer::status_option(const SctpSocket& s, MutableByteSpan value, size_t length) const {
  const uint32_t id = first_association(s, value.first(std::min(length, value.size())));
  const auto it = s.associations.find(id);
  if (s.many() && it == s.associations.end()) return Errc::invalid;
  sctp_status own{};
  own.sstat_assoc_id = id;
  if (const Errc e = ask(s.so, SCTP_STATUS, own); e != Errc::ok) return Errc::invalid;
  lx::Status status;
  status.state = state_of(own.sstat_state);
  status.association = own.sstat_assoc_id;
  status.window = own.sstat_rwnd;
  status.unacknowledged = own.sstat_unackdata;
  status.pending = own.sstat_penddata;
  status.in_streams = own.sstat_instrms;
  status.out_streams = own.sstat_outstrms;
  status.fragmentation_point = own.sstat_fragmentation_point;
  status.primary = path_info(own.sstat_primary, s.many() ? it->second.peer.endpoint() : s.remote);
  return lx::write_status(status, value);
}

// SCTP_GET_PEER_ADDR_INFO: of an association by number, or of the one with an address.
Result<size_t> UsrsctpServer::path_option(const SctpSocket& s, MutableByteSpan value, size_t length) const {
  auto asked = lx::read_path_info(value.first(std::min(length, value.size())));
  if (!asked) return asked.error();
  wire::Endpoint remote = s.remote;
  sctp_status own{};
  if (s.many()) {
    auto it = s.associations.find(asked->association);
    for (auto at = s.associations.begin(); it == s.associations.end() && asked->address.port != 0 && at != s.associations.end(); ++at)
      if (at->second.peer.endpoint() == asked->address) it = at;
    if (it == s.associations.end()) return Errc::invalid;
    own.sstat_assoc_id = it->first;
    remote = it->second.peer.endpoint();
  }
  if (asked->address.port != 0 && !(asked->address == remote)) return Errc::invalid;
  if (const Errc e = ask(s.so, SCTP_STATUS, own); e != Errc::ok) return Errc::invalid;
  lx::PathInfo info = path_info(own.sstat_primary, remote);
  info.association = own.sstat_assoc_id;
  return lx::write_path_info(info, value);
}

// SCTP_GET_PEER_ADDRS, SCTP_GET_LOCAL_ADDRS: of an association, or where the socket is bound, which may be to every address.
Result<size_t> UsrsctpServer::address_option(const SctpSocket& s, bool remote, MutableByteSpan value, size_t length) const {
  const auto it = s.associations.find(first_association(s, value.first(std::min(length, value.size()))));
  if (remote) {
    if (s.many() && it == s.associations.end()) return Errc::invalid;
    const wire::Endpoint peer = s.many() ? it->second.peer.endpoint() : s.remote;
    return peer.port == 0 ? Result<size_t>(Errc::not_connected) : lx::write_addresses({&peer, 1}, value);
  }
  if (it != s.associations.end()) {
    const wire::Endpoint local{wire::IpAddress::from(it->second.peer.path->local), s.local.port};
    return lx::write_addresses({&local, 1}, value);
  }
  if (!s.local.address.is_any() || s.local.port == 0) return lx::write_addresses({&s.local, 1}, value);
  std::vector<wire::Endpoint> every;
  for (uint32_t i = 0; i < services().network().interface_count(); ++i)
    every.push_back({wire::IpAddress::from(services().network().interface(i)->prefix.address), s.local.port});
  return lx::write_addresses(every, value);
}

}  // namespace ferry::foreign

// What ICMP errors mean, and when to send them.
#include "net/icmp.h"

namespace ferry::net {
namespace {

struct Meaning {
  Errc error;
  bool hard;
};

// As Linux reports them to sockets; soft or hard by RFC 1122 section 4.2.3.9 and RFC 5461.
Meaning meaning_of(uint8_t type, uint8_t code) {
  if (type == wire::kIcmpTimeExceeded) return {Errc::host_unreachable, false};
  if (type == wire::kIcmpParameterProblem) return {Errc::protocol, false};
  switch (code) {
    case wire::kNetUnreachable:
    case 6:   // network unknown
    case 9:   // network administratively prohibited
    case 11:  // network unreachable for TOS
      return {Errc::net_unreachable, false};
    case wire::kProtocolUnreachable: return {Errc::no_protocol_option, true};
    case wire::kPortUnreachable: return {Errc::refused, true};
    case wire::kFragmentationNeeded: return {Errc::message_size, false};
    case wire::kSourceRouteFailed: return {Errc::not_supported, false};
    default: return {Errc::host_unreachable, false};
  }
}

}  // namespace

Result<IcmpError> read_icmp_error(const wire::Ipv4View& outer, const wire::IcmpView& message) {
  const uint8_t type = message.type();
  if (type != wire::kIcmpUnreachable && type != wire::kIcmpTimeExceeded && type != wire::kIcmpParameterProblem)
    return Errc::malformed;  // source quench is dead (RFC 6633); redirects are not followed: one gateway per route
  return explain_error(type, message.code(), message.next_hop_mtu(), outer.source(), message.data());
}

Result<IcmpError> explain_error(uint8_t type, uint8_t code, uint16_t mtu, wire::Ipv4Address from, ByteSpan bytes) {
  auto quoted = wire::Ipv4View::parse_quoted(bytes);
  if (!quoted || quoted->fragment_offset() != 0) return Errc::malformed;
  const ByteSpan transport = quoted->payload();
  if (transport.size() < 8) return Errc::malformed;

  IcmpError e;
  const Meaning meaning = meaning_of(type, code);
  e.error = meaning.error;
  e.hard = meaning.hard;
  e.type = type;
  e.code = code;
  if (type == wire::kIcmpUnreachable && code == wire::kFragmentationNeeded) e.mtu = mtu;
  e.from = from;
  e.protocol = quoted->protocol();
  e.quoted = quoted->bytes();
  e.local.address = wire::IpAddress::from(quoted->source());
  e.remote.address = wire::IpAddress::from(quoted->destination());
  switch (e.protocol) {
    case wire::kProtocolTcp: e.sequence = wire::SeqNum(load_be32(transport, 4)); [[fallthrough]];
    case wire::kProtocolUdp:
      e.local.port = load_be16(transport, 0);
      e.remote.port = load_be16(transport, 2);
      break;
    case wire::kProtocolIcmp:
      if (load_u8(transport, 0) != wire::kIcmpEcho) return Errc::malformed;
      e.local.port = load_be16(transport, 4);
      e.remote.port = load_be16(transport, 6);
      break;
    default: return Errc::malformed;
  }
  return e;
}

bool may_send_error(const Interface& in, const wire::Ipv4View& offending, bool link_broadcast) {
  const wire::Ipv4Address source = offending.source(), destination = offending.destination();
  if (link_broadcast || destination.is_multicast() || is_broadcast(in, destination)) return false;
  if (source.is_any() || source.is_multicast() || is_broadcast(in, source) || source.value >> 28 == 15) return false;
  if (source.is_loopback() && !in.loopback) return false;
  if (offending.fragment_offset() != 0) return false;
  if (offending.protocol() == wire::kProtocolIcmp) {
    const ByteSpan message = offending.payload();
    if (message.empty()) return false;
    const uint8_t type = load_u8(message, 0);
    // Errors are never answered with errors, nor is what we do not know to be a question.
    if (type != wire::kIcmpEcho && type != wire::kIcmpEchoReply) return false;
  }
  return true;
}

}  // namespace ferry::net

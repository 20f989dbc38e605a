// ICMP of a host (RFC 792, 1122 section 3.2.2, 1812 section 4.3.2.8, 5927): which errors to send and when not to, and what
// received errors mean to the transport that they quote.
//
// Owns: those rules, as functions. Does not own: sending (network.h), the rate (rate_limit.h), headers (wire/icmp.h).
#pragma once

#include <cstdint>

#include "base/result.h"
#include "net/interface.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/seq_num.h"

namespace ferry::net {

// An error about something that we sent. The quoted ports name the socket; local is us.
struct IcmpError {
  Errc error = Errc::ok;          // what the socket reports
  bool hard = false;              // RFC 1122 section 4.2.3.9: may abort (protocol, port unreachable); else a hint
  uint8_t type = 0, code = 0;
  uint16_t mtu = 0;               // fragmentation needed: the next hop's, 0 if it did not say
  wire::Ipv4Address from;         // who complains
  uint8_t protocol = 0;           // of the quoted datagram
  wire::Endpoint local, remote;   // its source and destination; ICMP echo: local.port = identifier, remote.port = sequence
  wire::SeqNum sequence;          // TCP
  ByteSpan quoted;                // the quoted datagram as far as it goes, from its IP header
};

// Most bytes of the offending datagram that an error quotes, so that the whole is at most 576 bytes (RFC 1812 section 4.3.2.3).
inline constexpr size_t kMaxQuote = 576 - wire::kIpv4HeaderBytes - wire::kIcmpHeaderBytes;

// Reads the error that `message` is; `outer` is its IP header. Errc::malformed: no error, or it quotes nothing usable.
Result<IcmpError> read_icmp_error(const wire::Ipv4View& outer, const wire::IcmpView& message);

// The same from its pieces, for errors that this host raises itself; `quoted` begins at the IP header.
Result<IcmpError> explain_error(uint8_t type, uint8_t code, uint16_t mtu, wire::Ipv4Address from, ByteSpan quoted);

// Whether an error may be sent about this datagram: not about errors, broadcasts, later fragments, or a source that is not one
// host (RFC 1122 section 3.2.2). `link_broadcast`: it came in a broadcast or multicast frame.
bool may_send_error(const Interface& in, const wire::Ipv4View& offending, bool link_broadcast);

}  // namespace ferry::net

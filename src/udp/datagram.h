// UDP datagrams (RFC 768, 1122 section 4.1): checking what came in, building what goes out.
//
// Owns: lengths and checksums of the header. Does not own: sockets and demultiplexing (stack/), IPv4 (net/).
#pragma once

#include <cstdint>

#include "base/counters.h"
#include "base/result.h"
#include "buf/packet.h"
#include "net/network.h"
#include "wire/udp.h"

namespace ferry::udp {

// Largest payload of one IPv4 datagram.
inline constexpr uint32_t kMaxPayload = 65535 - wire::kIpv4HeaderBytes - wire::kUdpHeaderBytes;

// The datagram if it is sound: length fits, checksum right, or none made (0), or vouched for by the link. Otherwise
// Errc::malformed; the drop is counted.
Result<wire::UdpView> receive(const net::Datagram& datagram, Counters& counters);

// Appends the UDP header to a packet begun with net::Network::begin(), to be followed by `payload_length` bytes of payload; leaves
// the checksum to be completed (Network::send). Errc::message_size beyond kMaxPayload.
Status append_header(buf::Packet& packet, wire::Ipv4Address source, uint16_t source_port, wire::Ipv4Address destination,
                     uint16_t destination_port, uint32_t payload_length);

}  // namespace ferry::udp

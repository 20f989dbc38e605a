// Segments on their way out: header, checksum, and segmentation in software for links that do none.
#include "stack/tcp_server.h"
#include "wire/checksum.h"
#include "wire/tcp.h"

namespace ferry::stack {
namespace {

// The descriptors of [offset, offset + length) of the segment's payload.
void append_range(buf::Packet& packet, const tcp::OutputSegment& s, uint32_t offset, uint32_t length) {
  for (uint32_t i = 0; i < s.part_count && length > 0; ++i) {
    buf::IoDesc part = s.parts[i];
    if (offset >= part.length) {
      offset -= part.length;
      continue;
    }
    part = part.without_prefix(offset);
    offset = 0;
    if (part.length > length) part = part.prefix(length);
    length -= part.length;
    packet.append_part(part);  // cannot fail: no more parts than the segment has
  }
}

}  // namespace

void TcpServer::emit(tcp::Connection& c, const tcp::OutputSegment& segment) {
  TcpSocket& socket = socket_of(c);
  if (socket.path_generation != services().path_generation() && !refresh_path(socket)) return;
  send_segment(socket.path, socket.local, socket.remote, socket.tos, socket.ttl, segment);
}

bool TcpServer::refresh_path(TcpSocket& socket) {
  auto path = network().find_path(socket.remote.address.v4(), socket.local.address.v4());
  if (!path) return false;
  socket.path = *path;
  socket.path_generation = services().path_generation();
  return true;
}

void TcpServer::send_segment(const net::Path& path, const Endpoint& local, const Endpoint& remote, uint8_t tos, uint8_t ttl,
                          const tcp::OutputSegment& segment) {
  const uint32_t total = segment.payload_length;
  uint32_t step = total;
  if (total > segment.mss && segment.mss > 0 && path.max_gso < total)
    step = path.max_gso > segment.mss ? path.max_gso / segment.mss * segment.mss : segment.mss;
  uint32_t offset = 0;
  do {
    const uint32_t length = total - offset < step ? total - offset : step;
    send_slice(path, local, remote, tos, ttl, segment, offset, length);
    offset += length;
  } while (offset < total);
}

void TcpServer::send_slice(const net::Path& path, const Endpoint& local, const Endpoint& remote, uint8_t tos, uint8_t ttl,
                        const tcp::OutputSegment& segment, uint32_t offset, uint32_t length) {
  wire::TcpFields tcp;
  tcp.source_port = local.port;
  tcp.destination_port = remote.port;
  tcp.sequence = segment.seq + offset;
  tcp.acknowledgment = segment.ack;
  tcp.flags = segment.flags;
  tcp.window = segment.window;
  tcp.options = segment.options;
  if (offset + length < segment.payload_length) tcp.flags &= static_cast<uint8_t>(~(tcp::kFin | tcp::kPsh));
  if (offset > 0) tcp.flags &= static_cast<uint8_t>(~tcp::kCwr);
  if ((segment.flags & tcp::kUrg) != 0) {
    if (segment.urgent_pointer >= offset) tcp.urgent_pointer = static_cast<uint16_t>(segment.urgent_pointer - offset);
    else tcp.flags &= static_cast<uint8_t>(~tcp::kUrg);
  }
  const size_t header_length = tcp.size();
  FERRY_ASSERT(header_length <= wire::kTcpMaxHeaderBytes);
  const net::Ipv4Header ip{local.address.v4(), remote.address.v4(), wire::kProtocolTcp,
                           static_cast<uint8_t>((tos & ~3u) | (segment.ecn & 3u)), ttl, true};
  tcp.checksum = wire::pseudo_header(ip.source, ip.destination, wire::kProtocolTcp,
                                     static_cast<uint32_t>(header_length) + length).partial();

  buf::Packet& packet = services().packet();
  net::Network::begin(packet);
  tcp.emit(packet.append_header(header_length));
  append_range(packet, segment, offset, length);
  packet.offload.needs_checksum = true;
  packet.offload.checksum_start = net::Network::kTransportOffset;
  packet.offload.checksum_offset = wire::kTcpChecksumOffset;
  if (length > segment.mss && segment.mss > 0) {
    packet.offload.gso_type = buf::GsoType::tcp_v4;
    packet.offload.gso_size = segment.mss;
    packet.offload.ecn = (tcp.flags & tcp::kCwr) != 0;
  }
  ++counters().tcp_segments_out;
  if ((tcp.flags & tcp::kRst) != 0) ++counters().tcp_resets_out;
  // A packet that cannot be sent is lost: the connection's timers bring it back (counted by the network).
  (void)network().send(now(), path, ip, packet);
}

}  // namespace ferry::stack

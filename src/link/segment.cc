#include "link/segment.h"

#include "wire/checksum.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace ferry::link {
namespace {

constexpr size_t kIpv6HeaderBytes = 40;
constexpr uint8_t kFin = 0x01, kPsh = 0x08, kCwr = 0x80;

// Where the headers of a super-frame are. Built by look() only, which has checked every offset against the frame.
struct Layout {
  bool v6 = false;
  bool tcp = false;
  size_t network = wire::kEthernetHeaderBytes;
  size_t transport = 0;
  size_t payload = 0;
  size_t end = 0;  // of the IP packet; what follows is link-layer padding

  size_t transport_checksum() const { return transport + (tcp ? wire::kTcpChecksumOffset : wire::kUdpChecksumOffset); }
};

bool look_at_network(ByteSpan f, Layout& l, uint8_t& protocol) {
  if (f.size() < l.network + wire::kIpv4HeaderBytes) return false;
  if (l.v6) {
    if (load_be16(f, 12) != wire::kEtherIpv6 || f.size() < l.network + kIpv6HeaderBytes) return false;
    protocol = load_u8(f, l.network + 6);
    l.transport = l.network + kIpv6HeaderBytes;
    l.end = l.transport + load_be16(f, l.network + 4);
  } else {
    if (load_be16(f, 12) != wire::kEtherIpv4 || load_u8(f, l.network) >> 4 != 4) return false;
    const size_t header = size_t{load_u8(f, l.network)} % 16 * 4;
    if (header < wire::kIpv4HeaderBytes || (load_be16(f, l.network + 6) & 0x3fff) != 0) return false;
    protocol = load_u8(f, l.network + 9);
    l.transport = l.network + header;
    const size_t total = load_be16(f, l.network + 2);
    const bool big = total == 0 && f.size() - l.network > buf::kMaxIpPacket;  // see buf::kMaxSuperPacket
    l.end = big ? f.size() : l.network + total;
  }
  return l.end <= f.size();
}

bool look(const buf::Frame& frame, Layout& l) {
  const ByteSpan f = frame.bytes;
  l.tcp = frame.offload.gso_type != buf::GsoType::udp_l4;
  if (f.size() < wire::kEthernetHeaderBytes) return false;
  l.v6 = load_be16(f, 12) == wire::kEtherIpv6;
  if (frame.offload.gso_type == (l.v6 ? buf::GsoType::tcp_v4 : buf::GsoType::tcp_v6)) return false;
  uint8_t protocol = 0;
  if (!look_at_network(f, l, protocol)) return false;
  if (protocol != (l.tcp ? wire::kProtocolTcp : wire::kProtocolUdp)) return false;
  const size_t least = l.tcp ? wire::kTcpHeaderBytes : wire::kUdpHeaderBytes;
  if (l.transport + least > l.end) return false;
  const size_t header = l.tcp ? size_t{load_u8(f, l.transport + 12)} >> 4 << 2 : least;
  l.payload = l.transport + header;
  return header >= least && l.payload < l.end;
}

void finish_network(MutableByteSpan piece, const Layout& l, uint16_t first_id, uint32_t index) {
  if (l.v6) {
    store_be16(piece, l.network + 4, static_cast<uint16_t>(piece.size() - l.transport));
    return;
  }
  store_be16(piece, l.network + 2, static_cast<uint16_t>(piece.size() - l.network));
  store_be16(piece, l.network + 4, static_cast<uint16_t>(first_id + index));
  store_be16(piece, l.network + 10, 0);
  wire::Checksum sum;
  sum.add(piece.subspan(l.network, l.transport - l.network));
  store_be16(piece, l.network + 10, sum.finish());
}

void finish_transport(MutableByteSpan piece, const Layout& l) {
  const size_t addresses = l.v6 ? l.network + 8 : l.network + 12;
  wire::Checksum sum;
  sum.add(piece.subspan(addresses, l.v6 ? 32 : 8));
  sum.add_be16(l.tcp ? wire::kProtocolTcp : wire::kProtocolUdp);
  sum.add_be32(static_cast<uint32_t>(piece.size() - l.transport));
  store_be16(piece, l.transport_checksum(), 0);
  sum.add(piece.subspan(l.transport));
  const uint16_t value = sum.finish();
  store_be16(piece, l.transport_checksum(), value == 0 ? 0xffff : value);
}

}  // namespace

bool finish_checksum(MutableByteSpan frame, const buf::Offload& offload) {
  const size_t start = offload.checksum_start, at = start + offload.checksum_offset;
  if (at + 2 > frame.size()) return false;
  wire::Checksum sum;
  sum.add(ByteSpan(frame).subspan(start));
  const uint16_t value = sum.finish();
  store_be16(frame, at, value == 0 ? 0xffff : value);  // zero would say "no checksum" in UDP; both are zero in one's complement
  return true;
}

uint32_t cut_segments(const buf::Frame& frame, MutableByteSpan scratch, SegmentSink& sink) {
  if (frame.offload.gso_type == buf::GsoType::none) {
    if (!frame.offload.needs_checksum) return sink.on_segment(frame.bytes), 1;
    if (frame.bytes.size() > scratch.size()) return 0;
    const MutableByteSpan whole = scratch.first(frame.bytes.size());
    copy_bytes(whole, frame.bytes);
    if (!finish_checksum(whole, frame.offload)) return 0;
    return sink.on_segment(whole), 1;
  }
  Layout l;
  const size_t size = frame.offload.gso_size;
  if (size == 0 || scratch.size() < kSegmentScratch || !look(frame, l)) return 0;
  const ByteSpan headers = frame.bytes.first(l.payload);
  const uint16_t id = load_be16(frame.bytes, l.network + 4);
  const uint32_t sequence = l.tcp ? load_be32(frame.bytes, l.transport + 4) : 0;
  const uint8_t flags = l.tcp ? load_u8(frame.bytes, l.transport + 13) : 0;

  copy_bytes(scratch, headers);
  uint32_t index = 0;
  for (size_t at = l.payload; at < l.end; at += size, ++index) {
    const size_t n = l.end - at < size ? l.end - at : size;
    const MutableByteSpan piece = scratch.first(l.payload + n);
    copy_bytes(piece.subspan(l.payload), frame.bytes.subspan(at, n));
    finish_network(piece, l, id, index);
    if (l.tcp) {
      uint8_t own = flags;
      if (at + n < l.end) own &= static_cast<uint8_t>(~(kFin | kPsh));
      if (index > 0) own &= static_cast<uint8_t>(~kCwr);
      store_be32(piece, l.transport + 4, static_cast<uint32_t>(sequence + (at - l.payload)));
      store_u8(piece, l.transport + 13, own);
    } else {
      store_be16(piece, l.transport + 4, static_cast<uint16_t>(wire::kUdpHeaderBytes + n));
    }
    finish_transport(piece, l);
    sink.on_segment(piece);
  }
  return index;
}

}  // namespace ferry::link

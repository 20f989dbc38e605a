#include "link/join.h"

#include <algorithm>

#include "wire/checksum.h"

namespace ferry::link {
namespace {

constexpr uint8_t kFin = 0x01, kPsh = 0x08, kAck = 0x10;
constexpr size_t kNetwork = wire::kEthernetHeaderBytes;
constexpr size_t kTransport = kNetwork + wire::kIpv4HeaderBytes;

}  // namespace

// False: not TCP over IPv4 as it comes from a link. Nothing here depends on the payload.
bool SegmentJoiner::look(const buf::Frame& frame, Segment& s) {
  const ByteSpan f = frame.bytes;
  if (f.size() < kTransport || load_be16(f, 12) != wire::kEtherIpv4) return false;
  const auto ip = wire::Ipv4View::parse(f.subspan(kNetwork));
  if (!ip || ip->protocol() != wire::kProtocolTcp || ip->is_fragment()) return false;
  const auto tcp = wire::TcpView::parse(ip->payload());
  if (!tcp) return false;
  s.transport = kNetwork + ip->header_length();
  s.headers = f.first(s.transport + tcp->header_length());
  s.payload = tcp->payload();
  s.sequence = tcp->sequence().value();
  s.flags = tcp->flags();
  const buf::Offload& o = frame.offload;
  const bool usual_sum = !o.needs_checksum || (o.checksum_start == kTransport && o.checksum_offset == wire::kTcpChecksumOffset);
  s.plain = s.transport == kTransport && !s.payload.empty() && (s.flags & ~(kPsh | kFin)) == kAck && frame.detached.empty() &&
            o.gso_type == buf::GsoType::none && usual_sum && ip->checksum_ok();
  return true;
}

bool SegmentJoiner::same_flow(const Segment& a, const Segment& b) {
  return equal_bytes(a.headers.subspan(kNetwork + 12, 8), b.headers.subspan(kNetwork + 12, 8)) &&
         equal_bytes(a.headers.subspan(a.transport, 4), b.headers.subspan(b.transport, 4));
}

// Whether nothing may follow the segment, if it is the last of the group so far.
bool SegmentJoiner::ends_group(const Group& g, const Segment& s) {
  return (s.flags & (kPsh | kFin)) != 0 || s.payload.size() < g.first.payload.size() || g.count == kPieces;
}

bool SegmentJoiner::continues(const Group& g, const Segment& s) {
  const ByteSpan a = g.first.headers, b = s.headers;
  const auto same = [&](size_t from, size_t to) { return equal_bytes(a.subspan(from, to - from), b.subspan(from, to - from)); };
  return a.size() == b.size() && s.sequence == g.next_sequence && s.payload.size() <= g.first.payload.size() &&
         a.size() - kNetwork + g.payload_length + s.payload.size() <= buf::kMaxIpPacket &&
         same(0, kNetwork + 2) &&                       // Ethernet; version, header length, TOS
         same(kNetwork + 6, kNetwork + 10) &&           // DF, TTL, protocol
         same(kTransport + 8, kTransport + 13) &&       // acknowledgement, header length
         same(kTransport + 14, kTransport + 16) &&      // window
         same(kTransport + wire::kTcpHeaderBytes, a.size());
}

// Whether the checksum is right; if so it is not looked at again.
bool SegmentJoiner::verify(buf::Frame& frame, const Segment& s) {
  if (frame.offload.checksum_valid || frame.offload.needs_checksum) return true;
  const ByteSpan segment = frame.bytes.subspan(s.transport, s.headers.size() - s.transport + s.payload.size());
  bytes_summed_ += segment.size();
  const wire::Ipv4Address source{load_be32(s.headers, kNetwork + 12)}, destination{load_be32(s.headers, kNetwork + 16)};
  const auto length = static_cast<uint32_t>(segment.size());
  frame.offload.checksum_valid = wire::checksum_ok(wire::pseudo_header(source, destination, wire::kProtocolTcp, length), segment);
  return frame.offload.checksum_valid;
}

// The segment becomes part of the group; false: one of the two has a wrong checksum.
bool SegmentJoiner::append(Group& g, const buf::Frame& frame, const Segment& s) {
  JoinedPiece& piece = g.pieces[g.count];
  piece = {frame, s.payload};
  if (!verify(g.pieces[0].frame, g.first) || !verify(piece.frame, s)) return false;
  ++g.count;
  g.next_sequence += static_cast<uint32_t>(s.payload.size());
  g.payload_length += static_cast<uint32_t>(s.payload.size());
  g.last_flags = s.flags;
  return true;
}

void SegmentJoiner::begin(const buf::Frame& frame, const Segment& s) {
  if (used_ == kGroups) close(0);
  Group& g = groups_[order_[used_++]];
  g.first = s;
  g.next_sequence = s.sequence + static_cast<uint32_t>(s.payload.size());
  g.payload_length = static_cast<uint32_t>(s.payload.size());
  g.last_flags = s.flags;
  g.count = 1;
  g.pieces[0] = {frame, s.payload};
}

void SegmentJoiner::add(const buf::Frame& frame) {
  Segment s;
  if (!look(frame, s)) return sink_.on_single(frame);
  for (size_t i = 0; i < used_; ++i) {
    Group& g = groups_[order_[i]];
    if (!same_flow(g.first, s)) continue;
    if (s.plain && continues(g, s) && append(g, frame, s)) {
      if (ends_group(g, s)) close(i);
      return;
    }
    close(i);
    break;
  }
  if (!s.plain || (s.flags & (kPsh | kFin)) != 0) return sink_.on_single(frame);
  begin(frame, s);
}

void SegmentJoiner::flush() {
  while (used_ > 0) close(0);
}

// Takes the group out of the order before it is passed on.
void SegmentJoiner::close(size_t index) {
  const auto at = order_.begin() + static_cast<ptrdiff_t>(index);
  Group& g = groups_[*at];
  std::rotate(at, at + 1, order_.begin() + static_cast<ptrdiff_t>(used_));
  --used_;
  pass(g);
}

void SegmentJoiner::pass(Group& g) {
  if (g.count == 1) return sink_.on_single(g.pieces[0].frame);
  std::array<std::byte, kTransport + wire::kTcpMaxHeaderBytes> bytes;
  const MutableByteSpan head = MutableByteSpan(bytes).first(g.first.headers.size());
  copy_bytes(head, g.first.headers);
  const auto transport_bytes = static_cast<uint32_t>(head.size() - kTransport) + g.payload_length;
  store_be16(head, kNetwork + 2, static_cast<uint16_t>(wire::kIpv4HeaderBytes + transport_bytes));
  store_be16(head, kNetwork + 10, 0);
  wire::Checksum sum;
  sum.add(head.subspan(kNetwork, wire::kIpv4HeaderBytes));
  store_be16(head, kNetwork + 10, sum.finish());
  store_u8(head, kTransport + 13, g.last_flags);
  const wire::Ipv4Address source{load_be32(head, kNetwork + 12)}, destination{load_be32(head, kNetwork + 16)};
  store_be16(head, kTransport + wire::kTcpChecksumOffset,
             wire::pseudo_header(source, destination, wire::kProtocolTcp, transport_bytes).partial());
  Joined joined;
  joined.head.bytes = head;
  joined.head.offload.needs_checksum = true;
  joined.head.offload.checksum_start = kTransport;
  joined.head.offload.checksum_offset = wire::kTcpChecksumOffset;
  joined.head.offload.gso_type = buf::GsoType::tcp_v4;
  joined.head.offload.gso_size = static_cast<uint16_t>(g.first.payload.size());
  joined.pieces = std::span<const JoinedPiece>(g.pieces.data(), g.count);
  joined.payload_length = g.payload_length;
  sink_.on_joined(joined);
}

}  // namespace ferry::link

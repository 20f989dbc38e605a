#include "link/segment.h"

#include <gtest/gtest.h>

#include "unit/link/frames.h"

namespace ferry::link {
namespace {
using namespace testing;

struct Pieces final : SegmentSink {
  std::vector<Bytes> frames;
  void on_segment(ByteSpan b) override { frames.emplace_back(b.begin(), b.end()); }
};

const Path kPath{{{2, 0, 0, 0, 0, 1}}, {{2, 0, 0, 0, 0, 2}}};

Pieces cut(const buf::Packet& p, const buf::Memory& memory, uint32_t expected) {
  const Bytes whole = flatten(p, memory);
  Bytes scratch(kSegmentScratch);
  Pieces pieces;
  EXPECT_EQ(cut_segments({whole, p.offload}, scratch, pieces), expected);
  EXPECT_EQ(pieces.frames.size(), expected);
  return pieces;
}

TEST(CutSegments, PassesFinishedFramesAsTheyAre) {
  OneRegion memory(random_bytes(500, 1));
  const auto p = udp_packet(kPath, memory, {0, 500, 1}, Checksums::complete);
  EXPECT_EQ(cut(p, memory, 1).frames[0], flatten(p, memory));
}

TEST(CutSegments, FinishesAPartialChecksum) {
  for (const uint32_t length : {0u, 1u, 2u, 499u, 1400u}) {
    OneRegion memory(random_bytes(2000, length));
    const auto partial = udp_packet(kPath, memory, {3, length, 1}, Checksums::left_to_link);
    const auto complete = udp_packet(kPath, memory, {3, length, 1}, Checksums::complete);
    const Pieces pieces = cut(partial, memory, 1);
    EXPECT_TRUE(checksums_right(pieces.frames[0]));
    EXPECT_EQ(pieces.frames[0], flatten(complete, memory));
  }
}

// RFC 768: a sum of zero is sent as all ones, because zero says that there is no checksum.
TEST(CutSegments, NeverWritesAZeroUdpChecksum) {
  OneRegion memory(Bytes(2));
  auto p = udp_packet(kPath, memory, {0, 2, 1}, Checksums::complete);
  // The payload word that makes the sum come out as zero is the checksum of the same datagram with payload zero.
  const uint16_t word = load_be16(p.header_bytes(), 34 + 6);
  store_be16(memory.bytes, 0, word);
  const Pieces pieces = cut(udp_packet(kPath, memory, {0, 2, 1}, Checksums::left_to_link), memory, 1);
  EXPECT_EQ(load_be16(pieces.frames[0], 34 + 6), 0xffff);
}

TEST(CutSegments, CutsTcpLikeANetworkCard) {
  OneRegion memory(random_bytes(60000, 2));
  wire::TcpFields t;
  t.sequence = wire::SeqNum(0xffffff00);  // wraps on the way
  t.acknowledgment = wire::SeqNum(99);
  t.flags = 0x80 | 0x10 | 0x08 | 0x01;  // CWR ACK PSH FIN
  const auto p = tcp_packet(kPath, memory, {0, 10000, 1}, t, Checksums::left_to_link, 1448);
  const Pieces pieces = cut(p, memory, 7);
  Bytes payload;
  for (size_t i = 0; i < pieces.frames.size(); ++i) {
    const ByteSpan f = pieces.frames[i];
    ASSERT_TRUE(checksums_right(f)) << i;
    const auto ip = wire::Ipv4View::parse(f.subspan(14));
    EXPECT_EQ(ip->identification(), 77 + i);
    const auto tcp = wire::TcpView::parse(ip->payload());
    EXPECT_EQ(load_be32(tcp->bytes(), 4), static_cast<uint32_t>(0xffffff00 + i * 1448));
    EXPECT_EQ(load_be32(tcp->bytes(), 8), 99u);
    const bool first = i == 0, last = i + 1 == pieces.frames.size();
    EXPECT_EQ(tcp->flags(), 0x10 | (first ? 0x80 : 0) | (last ? 0x09 : 0));
    payload.insert(payload.end(), tcp->payload().begin(), tcp->payload().end());
  }
  EXPECT_EQ(payload, Bytes(memory.bytes.begin(), memory.bytes.begin() + 10000));
}

TEST(CutSegments, CutsTcpThatIsLongerThanAPacketCanSay) {
  OneRegion memory(random_bytes(200'000, 8));
  const Pieces pieces = cut(tcp_packet(kPath, memory, {0, 200'000, 1}, {}, Checksums::left_to_link, 1448), memory, 139);
  Bytes payload;
  for (const Bytes& f : pieces.frames) {
    ASSERT_TRUE(checksums_right(f));
    const auto tcp = wire::TcpView::parse(wire::Ipv4View::parse(ByteSpan(f).subspan(14))->payload());
    payload.insert(payload.end(), tcp->payload().begin(), tcp->payload().end());
  }
  EXPECT_EQ(payload, memory.bytes);
}

TEST(CutSegments, CutsUdpIntoDatagrams) {
  OneRegion memory(random_bytes(5000, 3));
  const Pieces pieces = cut(udp_packet(kPath, memory, {0, 5000, 1}, Checksums::left_to_link, 1200), memory, 5);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_TRUE(checksums_right(pieces.frames[i]));
    const auto udp = wire::UdpView::parse(wire::Ipv4View::parse(ByteSpan(pieces.frames[i]).subspan(14))->payload());
    EXPECT_EQ(udp->payload().size(), i < 4 ? 1200u : 200u);
    EXPECT_TRUE(equal_bytes(udp->payload(), ByteSpan(memory.bytes).subspan(i * 1200, udp->payload().size())));
  }
}

// 2001:db8::1 to ::2, TCP without options.
Bytes ipv6_frame(ByteSpan payload) {
  Bytes f(14 + 40 + 20 + payload.size());
  store_be16(f, 12, wire::kEtherIpv6);
  store_u8(f, 14, 0x60);
  store_be16(f, 18, static_cast<uint16_t>(20 + payload.size()));
  store_u8(f, 20, 6);
  for (size_t end : {22u, 38u}) store_be32(f, end, 0x20010db8);
  store_u8(f, 37, 1), store_u8(f, 53, 2);
  store_be32(f, 58, 1000);
  store_u8(f, 66, 0x50), store_u8(f, 67, 0x18);
  copy_bytes(MutableByteSpan(f).subspan(74), payload);
  return f;
}

TEST(CutSegments, CutsTcpOverIpv6) {
  const Bytes payload = random_bytes(3000, 4), whole = ipv6_frame(payload);
  buf::Frame frame{whole, {}};
  frame.offload.gso_type = buf::GsoType::tcp_v6;
  frame.offload.gso_size = 1400;
  Bytes scratch(kSegmentScratch);
  Pieces pieces;
  ASSERT_EQ(cut_segments(frame, scratch, pieces), 3u);
  for (size_t i = 0; i < 3; ++i) {
    const ByteSpan f = pieces.frames[i];
    EXPECT_EQ(load_be16(f, 18), 20 + (i < 2 ? 1400 : 200));
    EXPECT_EQ(load_be32(f, 58), 1000 + 1400 * i);
    wire::Checksum sum;
    sum.add(f.subspan(22, 32));
    sum.add_be16(6);
    sum.add_be32(static_cast<uint32_t>(f.size() - 54));
    EXPECT_TRUE(wire::checksum_ok(sum, f.subspan(54)));
  }
}

TEST(CutSegments, DropsPaddingBehindThePacket) {
  OneRegion memory(random_bytes(3000, 5));
  const auto p = tcp_packet(kPath, memory, {0, 3000, 1}, {}, Checksums::left_to_link, 1000);
  Bytes whole = flatten(p, memory);
  whole.resize(whole.size() + 10);
  Bytes scratch(kSegmentScratch);
  Pieces pieces;
  EXPECT_EQ(cut_segments({whole, p.offload}, scratch, pieces), 3u);
  EXPECT_EQ(pieces.frames[2].size(), 14 + 20 + 20 + 1000u);
}

TEST(CutSegments, RefusesWhatDoesNotParse) {
  OneRegion memory(random_bytes(3000, 6));
  const auto p = tcp_packet(kPath, memory, {0, 3000, 1}, {}, Checksums::left_to_link, 1000);
  const Bytes good = flatten(p, memory);
  Bytes scratch(kSegmentScratch);
  const auto refused = [&](ByteSpan bytes, buf::Offload offload) {
    Pieces pieces;
    return cut_segments({bytes, offload}, scratch, pieces) == 0 && pieces.frames.empty();
  };
  EXPECT_FALSE(refused(good, p.offload));
  for (size_t n = 0; n < good.size(); n += n < 60 ? 1 : 97) EXPECT_TRUE(refused(ByteSpan(good).first(n), p.offload)) << n;
  buf::Offload o = p.offload;
  o.gso_size = 0;
  EXPECT_TRUE(refused(good, o));
  o = p.offload;
  o.gso_type = buf::GsoType::udp_l4;
  EXPECT_TRUE(refused(good, o));
  o.gso_type = buf::GsoType::tcp_v6;
  EXPECT_TRUE(refused(good, o));
  o = buf::Offload{};
  o.needs_checksum = true;
  o.checksum_start = 3050;
  o.checksum_offset = 16;
  EXPECT_TRUE(refused(good, o));
  for (const size_t at : {12u, 14u, 20u, 23u, 46u}) {  // type, version and length, fragment, protocol, data offset
    Bytes bad = good;
    store_u8(bad, at, at == 46 ? 0x40 : 0x3f);
    EXPECT_TRUE(refused(bad, p.offload)) << at;
  }
}

}  // namespace
}  // namespace ferry::link

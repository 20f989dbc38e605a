#include "udp/datagram.h"

#include <gtest/gtest.h>

#include "support/bytes.h"
#include "wire/checksum.h"

namespace ferry::udp {
namespace {

using test::Bytes;
using wire::Ipv4Address;

constexpr Ipv4Address kA = Ipv4Address::of(10, 9, 0, 2), kB = Ipv4Address::of(10, 9, 0, 1);

struct UdpReceive : ::testing::Test {
  Counters counters;
  Bytes packet;

  // An IP packet with this UDP header and payload.
  net::Datagram datagram(wire::UdpFields udp, const Bytes& payload, bool seal, buf::Offload offload = {}) {
    Bytes segment = test::join(test::emit(udp), payload);
    if (seal) {
      wire::Checksum sum = wire::pseudo_header(kA, kB, 17, static_cast<uint32_t>(segment.size()));
      sum.add(segment);
      store_be16(segment, 6, sum.finish());
    }
    wire::Ipv4Fields ip;
    ip.protocol = 17;
    ip.source = kA;
    ip.destination = kB;
    ip.total_length = static_cast<uint16_t>(20 + segment.size());
    packet = test::join(test::emit(ip), segment);
    return net::Datagram{0, *wire::Ipv4View::parse(packet), offload, false, false};
  }
};

TEST_F(UdpReceive, TakesASoundDatagram) {
  const auto d = datagram({53, 4096, 13, 0}, test::pattern(5), true);
  auto udp = receive(d, counters);
  ASSERT_TRUE(udp);
  EXPECT_EQ(udp->source_port(), 53);
  EXPECT_EQ(test::copy(udp->payload()), test::pattern(5));
  EXPECT_EQ(counters.udp_in, 1u);
}

TEST_F(UdpReceive, AWrongChecksumIsCounted) {
  EXPECT_FALSE(receive(datagram({53, 4096, 13, 0x1234}, test::pattern(5), false), counters));
  EXPECT_EQ(counters.dropped(Drop::udp_checksum), 1u);
}

TEST_F(UdpReceive, NoChecksumIsFine) {
  EXPECT_TRUE(receive(datagram({53, 4096, 13, 0}, test::pattern(5), false), counters));
  EXPECT_EQ(counters.payload_bytes_summed, 0u);
}

TEST_F(UdpReceive, TheLinksWordIsTaken) {
  EXPECT_TRUE(receive(datagram({53, 4096, 13, 0x1234}, test::pattern(5), false, {.needs_checksum = true}), counters));
  EXPECT_TRUE(receive(datagram({53, 4096, 13, 0x1234}, test::pattern(5), false, {.checksum_valid = true}), counters));
}

TEST_F(UdpReceive, ImpossibleLengthsAreCounted) {
  EXPECT_FALSE(receive(datagram({53, 4096, 14, 0}, test::pattern(5), false), counters));
  EXPECT_EQ(counters.dropped(Drop::udp_malformed), 1u);
}

TEST(UdpHeader, CarriesThePseudoHeadersSum) {
  buf::Packet p;
  net::Network::begin(p);
  ASSERT_TRUE(append_header(p, kB, 4096, kA, 53, 100));
  EXPECT_EQ(p.header_length, net::Network::kTransportOffset + 8);
  EXPECT_TRUE(p.offload.needs_checksum);
  EXPECT_EQ(p.offload.checksum_start, net::Network::kTransportOffset);
  EXPECT_EQ(p.offload.checksum_offset, 6);
  const ByteSpan h = p.header_bytes().subspan(net::Network::kTransportOffset);
  EXPECT_EQ(load_be16(h, 0), 4096);
  EXPECT_EQ(load_be16(h, 2), 53);
  EXPECT_EQ(load_be16(h, 4), 108);
  EXPECT_EQ(load_be16(h, 6), wire::pseudo_header(kB, kA, 17, 108).partial());
}

TEST(UdpHeader, TheLargestDatagram) {
  buf::Packet p;
  net::Network::begin(p);
  EXPECT_EQ(append_header(p, kB, 1, kA, 2, kMaxPayload + 1).error(), Errc::message_size);
  EXPECT_TRUE(append_header(p, kB, 1, kA, 2, kMaxPayload));
}

}  // namespace
}  // namespace ferry::udp

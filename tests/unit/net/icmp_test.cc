#include "net/icmp.h"

#include <gtest/gtest.h>

#include "net_fixture.h"

namespace ferry::net {
namespace {

using test::Bytes;
using test::kOurs;
using test::kPeer;
using wire::Ipv4Address;

// What we once sent to the peer, as a router would quote it: the header and `n` bytes of payload.
Bytes quote(uint8_t protocol, size_t n, uint16_t fragment_offset = 0) {
  wire::Ipv4Fields ip;
  ip.total_length = 1500;
  ip.protocol = protocol;
  ip.fragment_offset = fragment_offset;
  ip.source = kOurs;
  ip.destination = kPeer;
  Bytes transport = test::hex("1234 0050 89abcdef 0000 0000 0000 0000 0000");
  if (protocol == wire::kProtocolIcmp) transport = test::hex("08 00 0000 1234 0050 0000 0000");
  transport.resize(n);
  return test::join(test::emit(ip), transport);
}

Result<IcmpError> read(uint8_t type, uint8_t code, const Bytes& quoted, uint32_t rest = 0) {
  static Bytes message, outer;
  wire::IcmpFields f{type, code, 0, rest};
  message = test::join(test::emit(f), quoted);
  wire::Ipv4Fields ip;
  ip.source = Ipv4Address::of(10, 9, 0, 254);
  outer = test::emit(ip);
  return read_icmp_error(*wire::Ipv4View::parse(outer), *wire::IcmpView::parse(message));
}

TEST(IcmpError, NamesTheTcpConnection) {
  auto e = read(wire::kIcmpUnreachable, wire::kPortUnreachable, quote(wire::kProtocolTcp, 8));
  ASSERT_TRUE(e);
  EXPECT_EQ(e->error, Errc::refused);
  EXPECT_TRUE(e->hard);
  EXPECT_EQ(e->protocol, wire::kProtocolTcp);
  EXPECT_EQ(e->local.address.v4(), kOurs);
  EXPECT_EQ(e->local.port, 0x1234);
  EXPECT_EQ(e->remote.address.v4(), kPeer);
  EXPECT_EQ(e->remote.port, 80);
  EXPECT_EQ(e->sequence, wire::SeqNum(0x89abcdef));
  EXPECT_EQ(e->from, Ipv4Address::of(10, 9, 0, 254));
}

TEST(IcmpError, NamesTheEchoRequest) {
  auto e = read(wire::kIcmpTimeExceeded, 0, quote(wire::kProtocolIcmp, 8));
  ASSERT_TRUE(e);
  EXPECT_EQ(e->local.port, 0x1234);
  EXPECT_EQ(e->remote.port, 0x50);
}

TEST(IcmpError, FragmentationNeededCarriesTheMtu) {
  auto e = read(wire::kIcmpUnreachable, wire::kFragmentationNeeded, quote(wire::kProtocolUdp, 8), 1400);
  ASSERT_TRUE(e);
  EXPECT_EQ(e->error, Errc::message_size);
  EXPECT_EQ(e->mtu, 1400);
  EXPECT_FALSE(e->hard);
  EXPECT_EQ(read(wire::kIcmpUnreachable, wire::kHostUnreachable, quote(wire::kProtocolUdp, 8), 1400)->mtu, 0);
}

TEST(IcmpError, MeaningsByCode) {
  const auto meaning = [](uint8_t type, uint8_t code) { return read(type, code, quote(wire::kProtocolUdp, 8))->error; };
  EXPECT_EQ(meaning(3, 0), Errc::net_unreachable);
  EXPECT_EQ(meaning(3, 1), Errc::host_unreachable);
  EXPECT_EQ(meaning(3, 2), Errc::no_protocol_option);
  EXPECT_EQ(meaning(3, 5), Errc::not_supported);
  EXPECT_EQ(meaning(3, 6), Errc::net_unreachable);
  EXPECT_EQ(meaning(3, 10), Errc::host_unreachable);
  EXPECT_EQ(meaning(3, 13), Errc::host_unreachable);
  EXPECT_EQ(meaning(3, 200), Errc::host_unreachable);
  EXPECT_EQ(meaning(11, 0), Errc::host_unreachable);
  EXPECT_EQ(meaning(12, 0), Errc::protocol);
  for (uint8_t code : {0, 1, 4, 5, 9, 13})
    EXPECT_FALSE(read(3, code, quote(wire::kProtocolUdp, 8))->hard) << int{code};  // RFC 1122: soft
}

TEST(IcmpError, WhatIsNoErrorOrQuotesTooLittleIsMalformed) {
  EXPECT_FALSE(read(wire::kIcmpEcho, 0, quote(wire::kProtocolTcp, 8)));
  EXPECT_FALSE(read(wire::kIcmpSourceQuench, 0, quote(wire::kProtocolTcp, 8)));
  EXPECT_FALSE(read(wire::kIcmpRedirect, 0, quote(wire::kProtocolTcp, 8)));
  EXPECT_FALSE(read(3, 3, quote(wire::kProtocolTcp, 7)));
  EXPECT_FALSE(read(3, 3, Bytes(19)));
  EXPECT_FALSE(read(3, 3, quote(wire::kProtocolTcp, 8, 8)));  // a later fragment
  EXPECT_FALSE(read(3, 3, quote(132, 8)));                    // no protocol of ours
  Bytes reply = quote(wire::kProtocolIcmp, 8);
  reply[20] = std::byte{0};
  EXPECT_FALSE(read(11, 0, reply));  // about an echo reply: nobody waits for that
}

struct MaySend {
  Interface in = test::link_interface();
  wire::Ipv4Fields ip;
  Bytes payload = Bytes(8);
  bool link_broadcast = false;

  MaySend() {
    ip.protocol = wire::kProtocolUdp;
    ip.source = kPeer;
    ip.destination = kOurs;
  }
  bool ask() {
    ip.total_length = static_cast<uint16_t>(20 + payload.size());
    const Bytes bytes = test::join(test::emit(ip), payload);
    return may_send_error(in, *wire::Ipv4View::parse(bytes), link_broadcast);
  }
};

TEST(MaySendError, AboutAnOrdinaryDatagram) { EXPECT_TRUE(MaySend().ask()); }

TEST(MaySendError, NeverAboutBroadcasts) {
  MaySend m;
  m.link_broadcast = true;
  EXPECT_FALSE(m.ask());
  for (auto destination : {Ipv4Address::of(10, 9, 0, 255), Ipv4Address::of(255, 255, 255, 255), Ipv4Address::of(224, 0, 0, 1)}) {
    MaySend n;
    n.ip.destination = destination;
    EXPECT_FALSE(n.ask());
  }
}

TEST(MaySendError, NeverToWhatIsNotOneHost) {
  for (auto source : {Ipv4Address{}, Ipv4Address::of(10, 9, 0, 255), Ipv4Address::of(255, 255, 255, 255),
                      Ipv4Address::of(224, 0, 0, 1), Ipv4Address::of(127, 0, 0, 1), Ipv4Address::of(240, 0, 0, 1)}) {
    MaySend m;
    m.ip.source = source;
    EXPECT_FALSE(m.ask()) << source.value;
  }
}

TEST(MaySendError, NeverAboutLaterFragments) {
  MaySend m;
  m.ip.fragment_offset = 8;
  EXPECT_FALSE(m.ask());
  m.ip.fragment_offset = 0;
  m.ip.more_fragments = true;
  EXPECT_TRUE(m.ask());
}

TEST(MaySendError, NeverAboutErrors) {
  MaySend m;
  m.ip.protocol = wire::kProtocolIcmp;
  for (int type = 0; type < 256; ++type) {
    m.payload[0] = static_cast<std::byte>(type);
    EXPECT_EQ(m.ask(), type == wire::kIcmpEcho || type == wire::kIcmpEchoReply) << type;
  }
  m.payload.clear();
  EXPECT_FALSE(m.ask());
}

}  // namespace
}  // namespace ferry::net

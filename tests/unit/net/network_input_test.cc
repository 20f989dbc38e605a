#include <gtest/gtest.h>

#include "net_fixture.h"
#include "wire/checksum.h"

namespace ferry::net {
namespace {

using test::Bytes;
using test::kOurMac;
using test::kOurs;
using test::kPeer;
using test::kPeerMac;
using wire::Ipv4Address;
using wire::MacAddress;

class NetworkInput : public test::NetworkTest {
 protected:
  void SetUp() override { start(); }
  void receive_ip(const wire::Ipv4Fields& ip, const Bytes& payload, MacAddress to = kOurMac) {
    receive(frame_of(ip_packet(ip, payload), to));
  }
};

TEST_F(NetworkInput, DeliversADatagramWithoutItsPadding) {
  receive(test::join(frame_of(ip_packet(from_peer(wire::kProtocolUdp), Bytes(9))), Bytes(17)));
  ASSERT_EQ(host.datagrams.size(), 1u);
  EXPECT_EQ(host.datagrams[0].size(), 29u);
  EXPECT_FALSE(host.datagram_broadcast);
  EXPECT_FALSE(host.datagram_trusted);
}

TEST_F(NetworkInput, TrustsChecksumsThatTheLinkVouchesFor) {
  const Bytes bytes = frame_of(ip_packet(from_peer(wire::kProtocolUdp), Bytes(9)));
  network.on_frame(now, 0, buf::Frame{bytes, {.checksum_valid = true}});
  EXPECT_TRUE(host.datagram_trusted);
  network.on_frame(now, 0, buf::Frame{bytes, {.needs_checksum = true}});
  EXPECT_TRUE(host.datagram_trusted);
}

TEST_F(NetworkInput, TakesPacketsThatAreLongerThanTheySayIfTheyAreUncut) {
  Bytes packet = ip_packet(from_peer(wire::kProtocolTcp), Bytes(100'000));
  auto fields = from_peer(wire::kProtocolTcp);
  fields.total_length = 0;
  const Bytes header = test::emit(fields);
  std::copy(header.begin(), header.end(), packet.begin());
  const Bytes bytes = frame_of(packet);
  const buf::Offload uncut{.needs_checksum = true, .gso_type = buf::GsoType::tcp_v4, .gso_size = 1448};
  network.on_frame(now, 0, buf::Frame{bytes, uncut});
  ASSERT_EQ(host.datagrams.size(), 1u);
  EXPECT_EQ(host.datagrams[0].size(), 100'020u);
  network.on_frame(now, 0, buf::Frame{ByteSpan(bytes).first(54), uncut, ByteSpan(bytes).subspan(54)});
  EXPECT_EQ(host.datagrams.size(), 2u);
  network.on_frame(now, 0, buf::Frame{bytes, {.needs_checksum = true}});
  EXPECT_EQ(drops(Drop::ip_malformed), 1u);
}

TEST_F(NetworkInput, WrongFramesHaveTheirReasons) {
  const Bytes good = ip_packet(from_peer(wire::kProtocolUdp), Bytes(9));
  receive(Bytes(13));
  EXPECT_EQ(drops(Drop::ethernet_malformed), 1u);
  receive(frame_of(good, MacAddress{{2, 0, 0, 0, 0, 7}}));
  EXPECT_EQ(drops(Drop::ethernet_other_host), 1u);
  receive(test::join(test::emit(wire::EthernetFields{kOurMac, kPeerMac, wire::kEtherIpv6}), good));
  EXPECT_EQ(drops(Drop::ethernet_type), 1u);
  receive(test::join(test::emit(wire::EthernetFields{kOurMac, kPeerMac, wire::kEtherVlan}), good));
  EXPECT_EQ(drops(Drop::ethernet_vlan), 1u);
  receive(test::join(test::emit(wire::EthernetFields{MacAddress::broadcast(), kOurMac, wire::kEtherIpv4}), good));
  EXPECT_EQ(drops(Drop::ethernet_loop), 1u);
  network.on_frame(now, 7, buf::Frame{good, {}});  // no such link
  EXPECT_TRUE(host.datagrams.empty());
}

TEST_F(NetworkInput, WrongHeadersHaveTheirReasons) {
  Bytes bad = ip_packet(from_peer(wire::kProtocolUdp), Bytes(9));
  receive(frame_of(Bytes(bad.begin(), bad.end() - 1)));
  EXPECT_EQ(drops(Drop::ip_malformed), 1u);
  bad[8] = std::byte{1};  // TTL, without a new checksum
  receive(frame_of(bad));
  EXPECT_EQ(drops(Drop::ip_checksum), 1u);
  EXPECT_TRUE(host.datagrams.empty());
}

TEST_F(NetworkInput, TtlDoesNotMatterToTheDestination) {
  wire::Ipv4Fields ip = from_peer(wire::kProtocolUdp);
  ip.ttl = 0;
  receive_ip(ip, Bytes(9));
  EXPECT_EQ(host.datagrams.size(), 1u);
}

TEST_F(NetworkInput, ImpossibleSources) {
  for (Ipv4Address source : {Ipv4Address{}, kOurs, Ipv4Address::of(127, 0, 0, 1), Ipv4Address::of(10, 9, 0, 255),
                             Ipv4Address::of(224, 0, 0, 1), Ipv4Address::of(255, 255, 255, 255)}) {
    wire::Ipv4Fields ip = from_peer(wire::kProtocolUdp);
    ip.source = source;
    receive_ip(ip, Bytes(9));
  }
  EXPECT_EQ(drops(Drop::ip_source_address), 6u);
  EXPECT_TRUE(host.datagrams.empty());
}

TEST_F(NetworkInput, OtherDestinationsAreNotForwarded) {
  for (Ipv4Address destination : {Ipv4Address::of(10, 9, 0, 3), Ipv4Address::of(127, 0, 0, 1), Ipv4Address::of(224, 0, 0, 1)})
    receive_ip(from_peer(wire::kProtocolUdp, destination), Bytes(9));
  EXPECT_EQ(drops(Drop::ip_not_ours), 3u);
  EXPECT_TRUE(host.sent.empty());
}

TEST_F(NetworkInput, BroadcastsAreMarked) {
  receive_ip(from_peer(wire::kProtocolUdp, Ipv4Address::of(10, 9, 0, 255)), Bytes(9), MacAddress::broadcast());
  EXPECT_TRUE(host.datagram_broadcast);
  receive_ip(from_peer(wire::kProtocolUdp, Ipv4Address::of(255, 255, 255, 255)), Bytes(9), MacAddress::broadcast());
  EXPECT_EQ(host.datagrams.size(), 2u);
  // A broadcast frame around a datagram for us alone is a mistake (RFC 1122 section 3.3.6).
  receive_ip(from_peer(wire::kProtocolUdp), Bytes(9), MacAddress::broadcast());
  EXPECT_EQ(host.datagrams.size(), 2u);
  EXPECT_EQ(drops(Drop::ip_not_ours), 1u);
}

TEST_F(NetworkInput, OptionsAreIgnoredButForSourceRoutes) {
  const auto with_options = [&](const char* options) {
    Bytes p = ip_packet(from_peer(wire::kProtocolUdp), test::join(test::hex(options), Bytes(9)));
    p[0] = static_cast<std::byte>(0x45 + test::hex(options).size() / 4);
    store_be16(p, 10, 0);
    wire::Checksum sum;
    sum.add(ByteSpan(p).first(20 + test::hex(options).size()));
    store_be16(p, 10, sum.finish());
    receive(frame_of(p));
  };
  with_options("94040000");
  EXPECT_EQ(host.datagrams.size(), 1u);
  with_options("83070400 00000000");
  EXPECT_EQ(drops(Drop::ip_source_route), 1u);
  EXPECT_EQ(host.datagrams.size(), 1u);
}

TEST_F(NetworkInput, UnknownProtocolsAreAnswered) {
  receive_ip(from_peer(132), Bytes(30));
  EXPECT_EQ(drops(Drop::ip_protocol), 1u);
  ASSERT_EQ(host.sent.size(), 1u);
  auto error = wire::IcmpView::parse(host.sent[0].ip().payload());
  EXPECT_EQ(error->type(), wire::kIcmpUnreachable);
  EXPECT_EQ(error->code(), wire::kProtocolUnreachable);
}

TEST_F(NetworkInput, PortUnreachableQuotesTheDatagram) {
  host.answer = [&](const Datagram& d) { network.send_unreachable(now, d, wire::kPortUnreachable); };
  const Bytes sent = ip_packet(from_peer(wire::kProtocolUdp), test::pattern(1000));
  receive(frame_of(sent));
  ASSERT_EQ(host.sent.size(), 1u);
  const auto ip = host.sent[0].ip();
  EXPECT_EQ(ip.total_length(), 576);
  EXPECT_EQ(ip.source(), kOurs);
  EXPECT_EQ(ip.destination(), kPeer);
  EXPECT_EQ(ip.tos(), 0xc0);
  auto error = wire::IcmpView::parse(ip.payload());
  EXPECT_TRUE(error->checksum_ok());
  EXPECT_EQ(error->code(), wire::kPortUnreachable);
  EXPECT_EQ(test::copy(error->data()), Bytes(sent.begin(), sent.begin() + 548));
  EXPECT_EQ(counters.icmp_errors_out, 1u);
}

TEST_F(NetworkInput, ErrorsAreLimitedInRateAndNotSentAboutBroadcasts) {
  host.answer = [&](const Datagram& d) { network.send_unreachable(now, d, wire::kPortUnreachable); };
  receive_ip(from_peer(wire::kProtocolUdp, Ipv4Address::of(10, 9, 0, 255)), Bytes(9), MacAddress::broadcast());
  EXPECT_TRUE(host.sent.empty());
  for (int i = 0; i < 60; ++i) receive_ip(from_peer(wire::kProtocolUdp), Bytes(9));
  EXPECT_EQ(host.sent.size(), 50u);
  EXPECT_EQ(drops(Drop::icmp_rate_limited), 10u);
  pass(Duration::ms(5));
  for (int i = 0; i < 60; ++i) receive_ip(from_peer(wire::kProtocolUdp), Bytes(9));
  EXPECT_EQ(counters.icmp_errors_out, 55u);
}

TEST_F(NetworkInput, EchoIsAnswered) {
  wire::Ipv4Fields ip = from_peer(wire::kProtocolIcmp);
  ip.tos = 0x10;
  const Bytes data = test::pattern(1000);
  receive_ip(ip, icmp(wire::kIcmpEcho, 0, 0x12340001, data));
  ASSERT_EQ(host.sent.size(), 1u);
  EXPECT_EQ(host.sent[0].ip().tos(), 0x10);
  EXPECT_EQ(host.sent[0].ip().destination(), kPeer);
  auto reply = wire::IcmpView::parse(host.sent[0].ip().payload());
  EXPECT_EQ(reply->type(), wire::kIcmpEchoReply);
  EXPECT_TRUE(reply->checksum_ok());
  EXPECT_EQ(reply->rest(), 0x12340001u);
  EXPECT_EQ(test::copy(reply->data()), data);
}

TEST_F(NetworkInput, ALargeEchoComesAndGoesInFragments) {
  const Bytes message = icmp(wire::kIcmpEcho, 0, 1, test::pattern(60000));
  for (size_t at = 0; at < message.size(); at += 1480) {
    wire::Ipv4Fields ip = from_peer(wire::kProtocolIcmp);
    ip.fragment_offset = static_cast<uint16_t>(at);
    ip.more_fragments = at + 1480 < message.size();
    receive_ip(ip, test::copy(ByteSpan(message).subspan(at, std::min<size_t>(1480, message.size() - at))));
  }
  EXPECT_EQ(host.sent.size(), 41u);
  EXPECT_EQ(counters.datagrams_reassembled, 1u);
}

TEST_F(NetworkInput, EchoToBroadcastIsNotAnswered) {
  receive_ip(from_peer(wire::kProtocolIcmp, Ipv4Address::of(10, 9, 0, 255)), icmp(wire::kIcmpEcho, 0, 1, {}),
             MacAddress::broadcast());
  EXPECT_TRUE(host.sent.empty());
  EXPECT_EQ(drops(Drop::icmp_broadcast), 1u);
}

TEST_F(NetworkInput, EchoRepliesGoUp) {
  receive_ip(from_peer(wire::kProtocolIcmp), icmp(wire::kIcmpEchoReply, 0, 0x00770003, test::pattern(4)));
  ASSERT_EQ(host.echo_replies.size(), 1u);
  EXPECT_EQ(host.echo_replies[0].size(), 12u);
}

TEST_F(NetworkInput, ErrorsGoUpIfTheyQuoteUs) {
  wire::Ipv4Fields quoted;
  quoted.source = kOurs;
  quoted.destination = kPeer;
  quoted.protocol = wire::kProtocolUdp;
  quoted.total_length = 28;
  const Bytes quote = test::join(test::emit(quoted), test::hex("1234 0035 0008 0000"));
  receive_ip(from_peer(wire::kProtocolIcmp), icmp(3, 3, 0, quote));
  ASSERT_EQ(host.errors.size(), 1u);
  EXPECT_EQ(host.errors[0].error, Errc::refused);
  EXPECT_EQ(host.errors[0].from, kPeer);

  quoted.source = kPeer;
  receive_ip(from_peer(wire::kProtocolIcmp), icmp(3, 3, 0, test::join(test::emit(quoted), Bytes(8))));
  receive_ip(from_peer(wire::kProtocolIcmp), icmp(3, 3, 0, Bytes(4)));
  EXPECT_EQ(host.errors.size(), 1u);
  EXPECT_EQ(drops(Drop::icmp_quote), 2u);
  EXPECT_TRUE(host.sent.empty());  // never an error about an error
}

TEST_F(NetworkInput, WrongIcmpHasItsReasons) {
  receive_ip(from_peer(wire::kProtocolIcmp), Bytes(7));
  EXPECT_EQ(drops(Drop::icmp_malformed), 1u);
  receive_ip(from_peer(wire::kProtocolIcmp), test::hex("0800 0001 0000 0000"));
  EXPECT_EQ(drops(Drop::icmp_checksum), 1u);
  receive_ip(from_peer(wire::kProtocolIcmp), icmp(13, 0, 1, Bytes(12)));  // timestamp
  EXPECT_EQ(drops(Drop::icmp_type), 1u);
}

TEST_F(NetworkInput, ReassemblyTimesOutWithAnError) {
  wire::Ipv4Fields ip = from_peer(wire::kProtocolUdp);
  ip.more_fragments = true;
  receive_ip(ip, test::pattern(1480));
  EXPECT_EQ(network.next_deadline(), now + AddressGuard::kAnnounceInterval);
  pass(Duration::seconds(29));
  host.sent.clear();
  know_peer();
  host.sent.clear();
  pass(Duration::seconds(1));
  ASSERT_EQ(host.sent.size(), 1u);
  auto error = wire::IcmpView::parse(host.sent[0].ip().payload());
  EXPECT_EQ(error->type(), wire::kIcmpTimeExceeded);
  EXPECT_EQ(error->code(), wire::kReassemblyTimeExceeded);
  EXPECT_TRUE(error->checksum_ok());
  EXPECT_EQ(drops(Drop::fragment_timeout), 1u);
}

TEST_F(NetworkInput, LoopbackTakesOnlyOurOwn) {
  const auto loop = [&](Ipv4Address from, Ipv4Address to) {
    wire::Ipv4Fields ip;
    ip.source = from;
    ip.destination = to;
    ip.protocol = wire::kProtocolUdp;
    const Bytes bytes = test::join(Bytes(14), ip_packet(ip, Bytes(8)));
    network.on_loopback(now, 0, buf::Frame{bytes, {.needs_checksum = true}});
  };
  loop(kOurs, kOurs);
  EXPECT_EQ(host.datagrams.size(), 1u);
  EXPECT_TRUE(host.datagram_trusted);
  loop(kPeer, kOurs);
  loop(kOurs, kPeer);
  EXPECT_EQ(host.datagrams.size(), 1u);
  network.on_loopback(now, 0, buf::Frame{Bytes(13), {}});
  network.on_loopback(now, 9, buf::Frame{Bytes(60), {}});
  EXPECT_EQ(host.datagrams.size(), 1u);
}

}  // namespace
}  // namespace ferry::net

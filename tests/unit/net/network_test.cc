// Interfaces, paths, and what each side of the network layer does with good packets. Refusals: network_input_test.cc.
#include "net/network.h"

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

using NetworkSetup = test::NetworkTest;
using NetworkOutput = test::NetworkTest;

Interface loopback(LinkIndex link) {
  Interface i;
  i.link = link;
  i.prefix = {Ipv4Address::of(127, 0, 0, 1), 8};
  i.mtu = 65535;
  i.loopback = true;
  return i;
}

TEST_F(NetworkSetup, RefusesImpossibleInterfaces) {
  const auto refused = [&](auto&& change) {
    Interface i = test::link_interface();
    change(i);
    return network.add_interface(now, i).error();
  };
  EXPECT_EQ(refused([](Interface& i) { i.link = 1; }), Errc::invalid);
  EXPECT_EQ(refused([](Interface& i) { i.mtu = 67; }), Errc::invalid);
  EXPECT_EQ(refused([](Interface& i) { i.mtu = 65536; }), Errc::invalid);
  EXPECT_EQ(refused([](Interface& i) { i.prefix.length = 33; }), Errc::invalid);
  EXPECT_EQ(refused([](Interface& i) { i.prefix.length = 0; }), Errc::invalid);
  EXPECT_EQ(refused([](Interface& i) { i.prefix.address = {}; }), Errc::invalid);
  EXPECT_EQ(refused([](Interface& i) { i.prefix.address = Ipv4Address::of(10, 9, 0, 255); }), Errc::invalid);
  EXPECT_EQ(refused([](Interface& i) { i.prefix.address = Ipv4Address::of(10, 9, 0, 0); }), Errc::invalid);
  EXPECT_EQ(refused([](Interface& i) { i.prefix.address = Ipv4Address::of(224, 0, 0, 1); }), Errc::invalid);
  EXPECT_EQ(refused([](Interface& i) { i.prefix.address = Ipv4Address::of(127, 0, 0, 1); }), Errc::invalid);
  EXPECT_EQ(refused([](Interface& i) { i.loopback = true; }), Errc::invalid);
  EXPECT_EQ(network.interface_count(), 0u);
  ASSERT_TRUE(network.add_interface(now, test::link_interface(0)));
  EXPECT_EQ(network.add_interface(now, test::link_interface(1)).error(), Errc::address_in_use);
  port::set_allocation_gate([](size_t) { return false; });
  Interface second = test::link_interface(1);
  second.prefix.address = Ipv4Address::of(10, 8, 0, 1);
  EXPECT_EQ(network.add_interface(now, second).error(), Errc::no_memory);
  port::set_allocation_gate(nullptr);
  EXPECT_TRUE(network.add_interface(now, second));
}

TEST_F(NetworkSetup, GatewaysMustBeOnTheLink) {
  start();
  EXPECT_EQ(network.add_route({{{}, 0}, Ipv4Address::of(10, 8, 0, 1), 0}).error(), Errc::invalid);
  EXPECT_EQ(network.add_route({{{}, 0}, kOurs, 0}).error(), Errc::invalid);
  EXPECT_EQ(network.add_route({{{}, 0}, Ipv4Address::of(10, 9, 0, 254), 1}).error(), Errc::invalid);
  EXPECT_TRUE(network.add_route({{{}, 0}, Ipv4Address::of(10, 9, 0, 254), 0}));
}

TEST_F(NetworkSetup, Paths) {
  start();
  auto direct = network.find_path(kPeer);
  ASSERT_TRUE(direct);
  EXPECT_EQ(direct->source, kOurs);
  EXPECT_EQ(direct->next_hop, kPeer);
  EXPECT_EQ(direct->mtu, 1500);
  EXPECT_FALSE(direct->local || direct->broadcast || direct->multicast);

  EXPECT_EQ(network.find_path(Ipv4Address::of(192, 0, 2, 1)).error(), Errc::net_unreachable);
  ASSERT_TRUE(network.add_route({{{}, 0}, Ipv4Address::of(10, 9, 0, 254), 0}));
  EXPECT_EQ(network.find_path(Ipv4Address::of(192, 0, 2, 1))->next_hop, Ipv4Address::of(10, 9, 0, 254));

  EXPECT_TRUE(network.find_path(Ipv4Address::of(10, 9, 0, 255))->broadcast);
  EXPECT_TRUE(network.find_path(Ipv4Address::of(255, 255, 255, 255))->broadcast);
  EXPECT_TRUE(network.find_path(Ipv4Address::of(224, 0, 0, 251))->multicast);
  EXPECT_EQ(network.find_path({}).error(), Errc::net_unreachable);
  EXPECT_EQ(network.find_path(Ipv4Address::of(127, 0, 0, 1)).error(), Errc::net_unreachable);
  EXPECT_EQ(network.find_path(kPeer, Ipv4Address::of(10, 9, 0, 77)).error(), Errc::address_not_available);
}

TEST_F(NetworkSetup, OurselvesAndLoopback) {
  start();
  ASSERT_TRUE(network.add_interface(now, loopback(1)));
  auto own = network.find_path(kOurs);
  EXPECT_TRUE(own->local);
  EXPECT_EQ(own->link, 0u);
  EXPECT_EQ(own->source, kOurs);
  auto lo = network.find_path(Ipv4Address::of(127, 1, 2, 3));
  EXPECT_TRUE(lo->local);
  EXPECT_EQ(lo->link, 1u);
  EXPECT_EQ(lo->source, Ipv4Address::of(127, 0, 0, 1));
  EXPECT_EQ(network.find_path(kOurs, Ipv4Address::of(127, 0, 0, 9))->source, Ipv4Address::of(127, 0, 0, 9));
  EXPECT_TRUE(network.is_local(Ipv4Address::of(127, 255, 0, 1)));
}

TEST_F(NetworkOutput, HeadersAreComplete) {
  start();
  auto path = network.find_path(kPeer);
  buf::Packet p;
  Network::begin(p);
  p.append_header(8);
  ASSERT_TRUE(network.send(now, *path, {kOurs, kPeer, wire::kProtocolUdp, 0x12, 33, true}, p));
  ASSERT_EQ(host.sent.size(), 1u);
  const auto& f = host.sent[0];
  EXPECT_EQ(f.ethernet().destination(), kPeerMac);
  EXPECT_EQ(f.ethernet().source(), kOurMac);
  EXPECT_EQ(f.ip().source(), kOurs);
  EXPECT_EQ(f.ip().destination(), kPeer);
  EXPECT_EQ(f.ip().protocol(), 17);
  EXPECT_EQ(f.ip().tos(), 0x12);
  EXPECT_EQ(f.ip().ttl(), 33);
  EXPECT_TRUE(f.ip().dont_fragment());
  EXPECT_EQ(f.ip().total_length(), 28);
  EXPECT_TRUE(f.ip().checksum_ok());
}

TEST_F(NetworkOutput, IdentificationsDoNotRepeatSoon) {
  start();
  std::array<bool, 65536> seen{};
  for (int i = 0; i < 60000; ++i) {
    ASSERT_TRUE(send_udp(kPeer, 1));
    const uint16_t id = host.sent.back().ip().identification();
    EXPECT_FALSE(seen[id]);
    seen[id] = true;
    host.sent.clear();
  }
}

TEST_F(NetworkOutput, SixtyKilobytesGoOutInFragmentsAndComeTogether) {
  start();
  ASSERT_TRUE(send_udp(kPeer, 60000));
  EXPECT_EQ(host.sent.size(), (60008 + 1479) / 1480u);
  Counters theirs;
  Reassembler reassembler(theirs);
  std::optional<Bytes> whole;
  for (const auto& f : host.sent) {
    EXPECT_LE(f.bytes.size(), 1514u);
    EXPECT_TRUE(f.ip().checksum_ok());
    EXPECT_FALSE(whole);
    if (auto view = reassembler.add(now, 0, f.ip())) whole = test::copy(view->payload());
  }
  ASSERT_TRUE(whole);
  EXPECT_EQ(*whole, test::join(test::pattern(8, 7), test::pattern(60000, 9)));
  EXPECT_EQ(counters.payload_bytes_copied, 0u);
  EXPECT_EQ(counters.datagrams_fragmented, 1u);
  EXPECT_EQ(counters.fragments_out, host.sent.size());
}

TEST_F(NetworkOutput, TheMtuIsTheLimitWithDontFragment) {
  start();
  EXPECT_TRUE(send_udp(kPeer, 1472, true));
  EXPECT_EQ(send_udp(kPeer, 1473, true).error(), Errc::message_size);
  EXPECT_EQ(drops(Drop::ip_too_big), 1u);
  EXPECT_TRUE(send_udp(kPeer, 1473));
  EXPECT_EQ(host.sent.size(), 3u);
  EXPECT_EQ(send_udp(kPeer, 65508).error(), Errc::message_size);
  EXPECT_TRUE(send_udp(kPeer, 65507));
}

TEST_F(NetworkOutput, ChecksumIsLeftToALinkThatMakesIt) {
  Interface i = test::link_interface();
  for (bool offload : {false, true}) {
    test::FakeHost own_host{memory};
    Counters own_counters;
    Network net{own_host, memory, own_counters, 1};
    i.checksum_tx = offload;
    ASSERT_TRUE(net.add_interface(now, i));
    net.on_frame(now, 0, buf::Frame{arp_frame(wire::kArpRequest, kPeerMac, kPeer, {}, kOurs), {}});
    own_host.sent.clear();
    buf::Packet p;
    Network::begin(p);
    memory.bytes = test::pattern(50);
    copy_bytes(p.append_header(8), Bytes(8));
    p.append_part({0, 50, 1});
    const wire::Checksum pseudo = wire::pseudo_header(kOurs, kPeer, 17, 58);
    store_be16(MutableByteSpan(p.headers), 40, pseudo.partial());
    p.offload = {.needs_checksum = true, .checksum_start = 34, .checksum_offset = 6};
    ASSERT_TRUE(net.send(now, *net.find_path(kPeer), {kOurs, kPeer, 17}, p));
    const auto& f = own_host.sent.back();
    EXPECT_EQ(f.offload.needs_checksum, offload);
    EXPECT_EQ(wire::checksum_ok(pseudo, f.ip().payload()), !offload);
    EXPECT_EQ(own_counters.checksums_in_software, offload ? 0u : 1u);
  }
}

TEST_F(NetworkOutput, SuperSegmentsGoToLinksThatCutThem) {
  Interface i = test::link_interface();
  i.max_gso = 65000;
  i.checksum_tx = true;
  start(i);
  const auto send = [&](uint32_t payload, uint16_t gso_size) {
    buf::Packet p;
    Network::begin(p);
    memory.bytes = test::pattern(payload);
    copy_bytes(p.append_header(20), Bytes(20));
    p.append_part({0, payload, 1});
    p.offload = {.needs_checksum = true, .checksum_start = 34, .checksum_offset = 16,
                 .gso_type = buf::GsoType::tcp_v4, .gso_size = gso_size};
    return network.send(now, *network.find_path(kPeer), {kOurs, kPeer, 6}, p);
  };
  ASSERT_TRUE(send(60000, 1460));
  EXPECT_EQ(host.sent.back().offload.gso_size, 1460);
  EXPECT_EQ(host.sent.back().ip().total_length(), 60040);
  ASSERT_TRUE(send(1000, 1460));  // one segment needs no cutting
  EXPECT_EQ(host.sent.back().offload.gso_type, buf::GsoType::none);
  EXPECT_EQ(host.sent.back().offload.gso_size, 0);
  EXPECT_EQ(send(60000, 1461).error(), Errc::message_size);
}

TEST_F(NetworkOutput, SuperSegmentsMayBeLongerThanAPacketCanSay) {
  Interface i = test::link_interface();
  i.max_gso = 190'000;
  i.checksum_tx = true;
  start(i);
  const auto send = [&](uint32_t payload, buf::GsoType type, wire::Ipv4Address to) {
    buf::Packet p;
    Network::begin(p);
    memory.bytes = test::pattern(payload);
    copy_bytes(p.append_header(20), Bytes(20));
    p.append_part({0, payload, 1});
    p.offload = {.needs_checksum = true, .checksum_start = 34, .checksum_offset = 16, .gso_type = type, .gso_size = 1448};
    return network.send(now, *network.find_path(to), {kOurs, to, 6}, p);
  };
  ASSERT_TRUE(send(65'495, buf::GsoType::tcp_v4, kPeer));
  EXPECT_EQ(host.sent.back().ip().total_length(), 65'535);
  for (uint32_t payload : {65'496u, 190'000u}) {
    ASSERT_TRUE(send(payload, buf::GsoType::tcp_v4, kPeer)) << payload;
    const auto ip = wire::Ipv4View::parse(host.sent.back().ethernet().payload(), true);
    EXPECT_EQ(ip->total_length(), 0);
    EXPECT_TRUE(ip->checksum_ok());
    EXPECT_EQ(ip->payload().size(), 20 + payload);
  }
  EXPECT_EQ(send(190'001, buf::GsoType::tcp_v4, kPeer).error(), Errc::message_size);
  EXPECT_EQ(send(65'496, buf::GsoType::none, kPeer).error(), Errc::message_size);
  EXPECT_EQ(send(65'496, buf::GsoType::udp_l4, kPeer).error(), Errc::message_size);
  EXPECT_EQ(send(65'496, buf::GsoType::tcp_v4, kOurs).error(), Errc::message_size);  // nobody cuts what stays here
}

TEST_F(NetworkOutput, BroadcastAndMulticastNeedNoArp) {
  start();
  ASSERT_TRUE(send_udp(Ipv4Address::of(10, 9, 0, 255), 10));
  EXPECT_EQ(host.sent.back().ethernet().destination(), wire::MacAddress::broadcast());
  ASSERT_TRUE(send_udp(Ipv4Address::of(239, 255, 1, 2), 10));
  EXPECT_EQ(host.sent.back().ethernet().destination(), (wire::MacAddress{{1, 0, 0x5e, 0x7f, 1, 2}}));
}

TEST_F(NetworkOutput, ThroughTheGateway) {
  start();
  ASSERT_TRUE(network.add_route({{{}, 0}, kPeer, 0}));
  ASSERT_TRUE(send_udp(Ipv4Address::of(192, 0, 2, 1), 10));
  EXPECT_EQ(host.sent.back().ethernet().destination(), kPeerMac);
  EXPECT_EQ(host.sent.back().ip().destination(), Ipv4Address::of(192, 0, 2, 1));
}

TEST_F(NetworkOutput, ToOurselvesNothingReachesTheLink) {
  start();
  ASSERT_TRUE(send_udp(kOurs, 5000));
  EXPECT_TRUE(host.sent.empty());
  ASSERT_EQ(host.looped.size(), 1u);
  EXPECT_TRUE(host.looped[0].ethernet().destination().is_zero());
  network.on_loopback(now, host.looped[0].link, buf::Frame{host.looped[0].bytes, host.looped[0].offload});
  ASSERT_EQ(host.datagrams.size(), 1u);
  EXPECT_EQ(host.datagrams[0].size(), 5028u);
}

TEST_F(NetworkOutput, AFullLinkOrLoopbackIsToldAndCounted) {
  start();
  host.link_error = Errc::again;
  EXPECT_EQ(send_udp(kPeer, 10).error(), Errc::again);
  EXPECT_EQ(drops(Drop::link_refused), 1u);
  EXPECT_EQ(send_udp(kPeer, 60000).error(), Errc::again);  // the first fragment's loss ends it
  EXPECT_EQ(counters.fragments_out, 1u);
  EXPECT_EQ(send_udp(kOurs, 10).error(), Errc::again);
  EXPECT_EQ(drops(Drop::loopback_full), 1u);
}

TEST_F(NetworkOutput, EchoRequests) {
  start();
  memory.bytes = test::pattern(56);
  ASSERT_TRUE(network.send_echo(now, kPeer, 0x77, 3, {0, 56, 1}));
  const auto message = wire::IcmpView::parse(host.sent.back().ip().payload());
  ASSERT_TRUE(message);
  EXPECT_TRUE(message->checksum_ok());
  EXPECT_EQ(message->type(), wire::kIcmpEcho);
  EXPECT_EQ(message->echo_identifier(), 0x77);
  EXPECT_EQ(message->echo_sequence(), 3);
  EXPECT_EQ(test::copy(message->data()), memory.bytes);
  EXPECT_EQ(network.send_echo(now, Ipv4Address::of(192, 0, 2, 1), 1, 1, {}).error(), Errc::net_unreachable);
  EXPECT_EQ(network.send_echo(now, kPeer, 1, 1, {0, 57, 1}).error(), Errc::invalid);  // not readable
}

}  // namespace
}  // namespace ferry::net

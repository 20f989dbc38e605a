// Frames of a real kernel, spread over packet links: each flow comes to its share, the rest to the first, and nothing twice.
#include <gtest/gtest.h>

#include <set>

#include "unit/link/kernel_peer.h"
#include "wire/flow_share.h"

namespace ferry::link {
namespace {
using namespace testing;

constexpr uint32_t kShares = 3;

class FanoutTest : public ::testing::Test {
 protected:
  void SetUp() override {
    FERRY_NEEDS_ROOT();
    ASSERT_TRUE(veth.ok());
    auto opened = veth.ferry.run([] { return open_spread("packet:f0", {}, kShares); });
    ASSERT_TRUE(opened.ok()) << opened.error();
    links = std::move(*opened);
    ASSERT_EQ(links.size(), kShares);
    path.our_mac = links[0]->capabilities().mac;
    ASSERT_TRUE(veth.kernel.shell("ip neigh replace 10.77.0.2 lladdr " + to_string(path.our_mac) + " dev k0 nud permanent"));
    Collector before;  // the sockets were a group
    for (auto& link : links)
      while (link->receive(before, 64) > 0) {
      }
  }
  // A SYN from the kernel; `options`: bytes of IP options. Returns its source port.
  uint16_t syn(uint16_t to_port, size_t options) {
    return veth.kernel.run([&] {
      sockets.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      const int fd = sockets.back().fd();
      const char nops[40] = {1, 1, 1, 1, 1, 1, 1, 1};
      if (options > 0) {
        EXPECT_EQ(::setsockopt(fd, IPPROTO_IP, IP_OPTIONS, nops, static_cast<socklen_t>(options)), 0);
      }
      const sockaddr_in to = KernelPeer::address(path.ours, to_port);
      (void)::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to);
      sockaddr_in from{};
      socklen_t length = sizeof from;
      (void)::getsockname(fd, reinterpret_cast<sockaddr*>(&from), &length);
      return ntohs(from.sin_port);
    });
  }
  void receive() {
    for (int turn = 0; turn < 50; ++turn) {
      bool any = false;
      for (uint32_t i = 0; i < kShares; ++i) any |= links[i]->receive(got[i], 64) > 0;
      if (!any) ::usleep(1000);
    }
  }
  // Frames for our address alone of an IP protocol, by link.
  size_t count(uint32_t link, uint8_t protocol) const {
    size_t n = 0;
    for (const auto& f : got[link].frames)
      n += load_be16(f.bytes, 12) == wire::kEtherIpv4 && f.bytes[23] == std::byte{protocol} && load_be32(f.bytes, 30) == path.ours.value;
    return n;
  }
  VethPair veth;
  std::vector<std::unique_ptr<Link>> links;
  std::vector<KernelSocket> sockets;
  Collector got[kShares];
  Path path;
};

TEST_F(FanoutTest, EveryFlowComesToItsShareAlone) {
  std::set<uint16_t> sent[kShares], seen[kShares];
  for (size_t options : {size_t{0}, size_t{4}, size_t{8}, size_t{40}})
    for (uint16_t port = 4000; port < 4020; ++port) {
      const uint16_t from = syn(port, options);
      sent[wire::share_of_flow(path.ours, port, path.theirs, from, kShares)].insert(from);
    }
  receive();
  for (uint32_t i = 0; i < kShares; ++i) {
    for (const auto& f : got[i].frames) {
      if (load_be16(f.bytes, 12) != wire::kEtherIpv4 || f.bytes[23] != std::byte{6}) continue;
      const size_t header = (static_cast<size_t>(f.bytes[14]) & 0x0f) * 4;
      seen[i].insert(load_be16(f.bytes, 14 + header));
    }
    EXPECT_EQ(seen[i], sent[i]) << i;
    EXPECT_GT(seen[i].size(), 10u) << i;
  }
}

TEST_F(FanoutTest, TheRestComesToTheFirst) {
  veth.kernel.run([&] {
    const KernelSocket s(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    for (uint16_t port = 1; port <= 20; ++port) {
      const sockaddr_in to = KernelPeer::address(path.ours, port);
      const Bytes data(port == 20 ? 4000 : 100);  // the last in fragments
      EXPECT_EQ(::sendto(s.fd(), data.data(), data.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to),
                static_cast<ssize_t>(data.size()));
    }
  });
  const auto send_raw = [&](int protocol) {
    veth.kernel.run([&] {
      const KernelSocket s(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, protocol));
      const sockaddr_in to = KernelPeer::address(path.ours, 0);
      EXPECT_EQ(::sendto(s.fd(), "\x08\0\xf7\xff\0\0\0\0", 8, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to), 8);
    });
  };
  send_raw(IPPROTO_ICMP);
  send_raw(IPPROTO_SCTP);
  ASSERT_TRUE(veth.kernel.shell("ip neigh del 10.77.0.2 dev k0"));
  send_raw(IPPROTO_ICMP);  // asks for the neighbour
  receive();
  EXPECT_EQ(count(0, 17), 19u + 3u);
  EXPECT_EQ(count(0, 1), 1u);
  EXPECT_EQ(count(0, 132), 1u);
  size_t arp = 0;
  for (const auto& f : got[0].frames) arp += load_be16(f.bytes, 12) == wire::kEtherArp;
  EXPECT_GE(arp, 1u);
  for (uint32_t i = 1; i < kShares; ++i) EXPECT_TRUE(got[i].frames.empty()) << i;
}

TEST_F(FanoutTest, WhatALinkSendsComesToNone) {
  const OneRegion memory(Bytes(100));
  for (auto& link : links) {
    buf::Packet p = udp_packet(path, memory, {0, 100, 1}, Checksums::complete);
    wire::store_mac(MutableByteSpan(p.headers), 0, wire::MacAddress::broadcast());
    ASSERT_TRUE(link->send(p, memory).ok());
    link->flush();
  }
  receive();
  for (uint32_t i = 0; i < kShares; ++i)
    for (const auto& f : got[i].frames) EXPECT_NE(wire::EthernetView::parse(f.bytes)->source(), path.our_mac) << i;
}

TEST(OpenSpread, IsForPacketLinks) {
  auto opened = open_spread("tap:ferry0", {}, 2);
  ASSERT_FALSE(opened.ok());
  EXPECT_NE(opened.error().find("only packet links spread flows"), std::string::npos) << opened.error();
}

}  // namespace
}  // namespace ferry::link

// A whole conversation in which the n-th allocation, or the n-th transmission, fails, for all n: nothing breaks or leaks, and what
// is asked again afterwards works.
#include <gtest/gtest.h>

#include "net_fixture.h"

namespace ferry::net {
namespace {

using test::Bytes;
using test::kOurMac;
using test::kOurs;
using test::kPeer;
using test::kPeerMac;

int g_left = 0;
int g_failed = 0;

bool one_fails(size_t) {
  if (g_left-- != 0) return true;
  ++g_failed;
  return false;
}

class NetworkFault : public test::NetworkTest {
 protected:
  void TearDown() override { port::set_allocation_gate(nullptr); }

  // ARP in both directions, a datagram that waits, one in fragments each way, an echo, an error.
  void converse() {
    (void)send_udp(kPeer, 3000);
    (void)send_udp(wire::Ipv4Address::of(10, 9, 0, ++stranger_), 10);
    receive(arp_frame(wire::kArpReply, kPeerMac, kPeer, kOurMac, kOurs));
    receive(arp_frame(wire::kArpRequest, kPeerMac, wire::Ipv4Address::of(10, 9, 0, 3), {}, kOurs));
    (void)send_udp(kPeer, 6000);
    const Bytes message = icmp(wire::kIcmpEcho, 0, 1, test::pattern(9000));
    for (size_t at = 0; at < message.size(); at += 1480) {
      wire::Ipv4Fields ip = from_peer(wire::kProtocolIcmp);
      ip.identification = 7;
      ip.fragment_offset = static_cast<uint16_t>(at);
      ip.more_fragments = at + 1480 < message.size();
      receive(frame_of(ip_packet(ip, ByteSpan(message).subspan(at, std::min<size_t>(1480, message.size() - at)))));
    }
    receive(frame_of(ip_packet(from_peer(132), Bytes(8))));
    pass(Duration::seconds(31));
  }
  void expect_all_is_well() {
    host.sent.clear();
    converse();
    EXPECT_GT(host.sent.size(), 12u);
    EXPECT_EQ(host.sent.back().ethernet().source(), kOurMac);
  }

 private:
  uint8_t stranger_ = 100;
};

TEST_F(NetworkFault, EveryAllocationFailsOnce) {
  int n = 0;
  for (;; ++n) {
    test::FakeHost fresh_host{memory};
    Counters fresh;
    g_left = n;
    g_failed = 0;
    port::set_allocation_gate(one_fails);
    Network net{fresh_host, memory, fresh, 1};
    const Errc added = net.add_interface(now, test::link_interface()).error();
    port::set_allocation_gate(nullptr);
    if (g_failed == 0) break;
    EXPECT_EQ(added, Errc::no_memory);
  }
  EXPECT_EQ(n, 1);  // ARP's state is the only one that an interface allocates

  start();
  for (n = 0;; ++n) {
    ASSERT_LT(n, 1000);
    g_left = n;
    g_failed = 0;
    port::set_allocation_gate(one_fails);
    converse();
    port::set_allocation_gate(nullptr);
    expect_all_is_well();
    if (g_failed == 0) break;
  }
  EXPECT_EQ(n, 6);  // a neighbour and its waiting frame; a datagram to be put together and three sizes of its buffer
}

TEST_F(NetworkFault, EveryTransmissionFailsOnce) {
  struct FailingHost : test::FakeHost {
    using FakeHost::FakeHost;
    Status transmit(LinkIndex link, const buf::Packet& frame) override {
      if (left-- == 0) return Errc::again;
      return FakeHost::transmit(link, frame);
    }
    int left = -1;
  };
  for (int n = 0; n < 12; ++n) {
    FailingHost failing{memory};
    Counters c;
    Network net{failing, memory, c, 1};
    failing.left = n;
    ASSERT_TRUE(net.add_interface(now, test::link_interface()));
    const auto send = [&](uint32_t payload) {
      buf::Packet p;
      Network::begin(p);
      memory.bytes = test::pattern(payload);
      p.append_part({0, payload, 1});
      Ipv4Header h{kOurs, kPeer, wire::kProtocolUdp};
      h.dont_fragment = false;
      return net.send(now, *net.find_path(kPeer), h, p).ok();
    };
    EXPECT_TRUE(send(100));  // waits
    const Bytes reply = arp_frame(wire::kArpReply, kPeerMac, kPeer, kOurMac, kOurs);
    net.on_frame(now, 0, buf::Frame{reply, {}});
    const bool whole = send(9000);
    EXPECT_EQ(c.dropped(Drop::link_refused), failing.left < 0 ? 1u : 0u) << n;
    if (n >= 3 && n < 10) {
      EXPECT_FALSE(whole) << n;  // one of the seven fragments
    } else {
      EXPECT_TRUE(whole) << n;
    }
    EXPECT_EQ(send(100), n != 10);
  }
}

}  // namespace
}  // namespace ferry::net

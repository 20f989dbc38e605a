#include "net/arp.h"

#include <gtest/gtest.h>

#include "net_fixture.h"

namespace ferry::net {
namespace {

using test::Bytes;
using test::kOurMac;
using test::kOurs;
using test::kPeer;
using test::kPeerMac;
using wire::Ipv4Address;
using wire::MacAddress;

// ARP seen through the network that it belongs to.
class ArpTest : public test::NetworkTest {
 protected:
  void start_empty(bool probe = false) {
    ASSERT_TRUE(network.add_interface(now, test::link_interface(), probe));
    if (probe) return;
    pass(Duration::seconds(5));  // announcements
    host.sent.clear();
  }
  const Neighbor* neighbor(Ipv4Address a) const {
    const Neighbor* found = nullptr;
    network.for_each_neighbor([&](LinkIndex, const Neighbor& n) {
      if (n.address == a) found = &n;
    });
    return found;
  }
  void peer_answers(MacAddress mac = kPeerMac) { receive(arp_frame(wire::kArpReply, mac, kPeer, kOurMac, kOurs)); }
  void peer_asks() { receive(arp_frame(wire::kArpRequest, kPeerMac, kPeer, {}, kOurs)); }
  // Forgets and returns how many ARP requests were sent, checking that the rest is none.
  size_t requests(MacAddress to = MacAddress::broadcast()) {
    size_t n = 0;
    for (const auto& f : host.sent) {
      if (f.ethernet().type() != wire::kEtherArp) continue;
      EXPECT_EQ(f.arp().operation(), wire::kArpRequest);
      EXPECT_EQ(f.ethernet().destination(), to);
      ++n;
    }
    host.sent.clear();
    return n;
  }
};

TEST_F(ArpTest, AsksThenSendsWhatWaited) {
  start_empty();
  ASSERT_TRUE(send_udp(kPeer, 100));
  ASSERT_EQ(host.sent.size(), 1u);
  const auto request = host.sent[0].arp();
  EXPECT_EQ(host.sent[0].ethernet().destination(), MacAddress::broadcast());
  EXPECT_EQ(request.sender_mac(), kOurMac);
  EXPECT_EQ(request.sender_ip(), kOurs);
  EXPECT_EQ(request.target_ip(), kPeer);
  EXPECT_TRUE(request.target_mac().is_zero());
  ASSERT_TRUE(send_udp(kPeer, 200));
  EXPECT_EQ(host.sent.size(), 1u);  // one question is enough
  host.sent.clear();

  peer_answers();
  ASSERT_EQ(host.sent.size(), 2u);
  EXPECT_EQ(host.sent[0].ethernet().destination(), kPeerMac);
  EXPECT_EQ(host.sent[0].ip().payload().size(), 108u);
  EXPECT_EQ(test::copy(host.sent[1].ip().payload().subspan(8)), test::pattern(200, 9));
  ASSERT_TRUE(send_udp(kPeer, 10));
  EXPECT_EQ(host.sent.size(), 3u);
}

TEST_F(ArpTest, GivesUpAfterThreeRequestsAndTellsTheSender) {
  start_empty();
  ASSERT_TRUE(send_udp(kPeer, 100));
  EXPECT_EQ(requests(), 1u);
  pass(Duration::ms(999));
  EXPECT_EQ(requests(), 0u);
  pass(Duration::seconds(2));
  EXPECT_EQ(requests(), 2u);
  EXPECT_TRUE(host.errors.empty());
  pass(Duration::ms(1));
  ASSERT_EQ(host.errors.size(), 1u);
  EXPECT_EQ(host.errors[0].error, Errc::host_unreachable);
  EXPECT_EQ(host.errors[0].type, 3);
  EXPECT_EQ(host.errors[0].code, 1);
  EXPECT_FALSE(host.errors[0].hard);
  EXPECT_EQ(host.errors[0].remote.address.v4(), kPeer);
  EXPECT_EQ(host.errors[0].local.port, load_be16(test::pattern(8, 7), 0));
  EXPECT_EQ(drops(Drop::arp_unresolved), 1u);
}

TEST_F(ArpTest, SilentNeighboursAreAskedMoreAndMoreRarely) {
  start_empty();
  for (int seconds : {1, 2, 4, 8, 8}) {
    ASSERT_TRUE(send_udp(kPeer, 1));
    pass(Duration::seconds(3));  // three requests
    EXPECT_EQ(requests(), 3u);
    pass(Duration::seconds(seconds) - Duration::ms(1));
    EXPECT_EQ(send_udp(kPeer, 1).error(), Errc::host_unreachable);
    EXPECT_EQ(requests(), 0u);
    pass(Duration::ms(1));
  }
}

TEST_F(ArpTest, ALateAnswerIsTakenAndNextTimeAllIsForgiven) {
  start_empty();
  ASSERT_TRUE(send_udp(kPeer, 1));
  pass(Duration::ms(3500));
  requests();
  peer_answers();
  ASSERT_TRUE(send_udp(kPeer, 1));
  EXPECT_EQ(host.sent.at(0).ethernet().destination(), kPeerMac);
  EXPECT_EQ(neighbor(kPeer)->failed_rounds, 0);
}

TEST_F(ArpTest, AfterAMinuteTheNeighbourIsAskedAgainWhileTrafficFlows) {
  start_empty();
  ASSERT_TRUE(send_udp(kPeer, 1));
  peer_answers();
  host.sent.clear();
  pass(Duration::seconds(59));
  EXPECT_TRUE(network.next_deadline().is_never());  // nothing to do while nobody speaks
  ASSERT_TRUE(send_udp(kPeer, 1));
  EXPECT_EQ(requests(kPeerMac), 0u);
  pass(Duration::seconds(1));
  ASSERT_TRUE(send_udp(kPeer, 1));
  EXPECT_EQ(host.sent.size(), 2u);
  EXPECT_EQ(requests(kPeerMac), 1u);
  EXPECT_EQ(neighbor(kPeer)->state, NeighborState::probing);
  peer_answers();
  EXPECT_EQ(neighbor(kPeer)->state, NeighborState::reachable);
  EXPECT_TRUE(network.next_deadline().is_never());
}

TEST_F(ArpTest, AKnownNeighbourThatFallsSilentIsLookedForAnew) {
  start_empty();
  ASSERT_TRUE(send_udp(kPeer, 1));
  peer_answers();
  pass(Duration::seconds(60));
  host.sent.clear();
  ASSERT_TRUE(send_udp(kPeer, 1));
  pass(Duration::seconds(1));
  EXPECT_EQ(requests(kPeerMac), 2u);
  pass(Duration::seconds(1));
  EXPECT_EQ(requests(), 1u);  // the last one to everybody: its hardware may be new
  pass(Duration::seconds(1));
  EXPECT_EQ(neighbor(kPeer)->state, NeighborState::failed);
  ASSERT_TRUE(send_udp(kPeer, 1));  // no hold-down
  EXPECT_EQ(requests(), 1u);
}

TEST_F(ArpTest, AnswersForOurAddressOnly) {
  start_empty();
  receive(arp_frame(wire::kArpRequest, kPeerMac, kPeer, {}, Ipv4Address::of(10, 9, 0, 3)));
  EXPECT_TRUE(host.sent.empty());
  EXPECT_EQ(drops(Drop::arp_not_ours), 1u);
  EXPECT_EQ(neighbor(kPeer), nullptr);  // RFC 826: overheard packets add nothing

  peer_asks();
  ASSERT_EQ(host.sent.size(), 1u);
  const auto reply = host.sent[0].arp();
  EXPECT_EQ(host.sent[0].ethernet().destination(), kPeerMac);
  EXPECT_EQ(reply.operation(), wire::kArpReply);
  EXPECT_EQ(reply.sender_mac(), kOurMac);
  EXPECT_EQ(reply.sender_ip(), kOurs);
  EXPECT_EQ(reply.target_mac(), kPeerMac);
  EXPECT_EQ(reply.target_ip(), kPeer);
  // Who asks for us will be spoken to: its address is learnt on the way.
  host.sent.clear();
  ASSERT_TRUE(send_udp(kPeer, 1));
  ASSERT_EQ(host.sent.size(), 2u);
  EXPECT_EQ(host.sent[1].ethernet().destination(), kPeerMac);
}

TEST_F(ArpTest, AMovedNeighbourIsFollowed) {
  start_empty();
  ASSERT_TRUE(send_udp(kPeer, 1));
  peer_answers();
  const MacAddress other{{2, 0, 0, 0, 0, 9}};
  receive(arp_frame(wire::kArpRequest, other, kPeer, {}, kPeer));  // gratuitous
  host.sent.clear();
  ASSERT_TRUE(send_udp(kPeer, 1));
  EXPECT_EQ(host.sent.back().ethernet().destination(), other);
}

// Nobody asked: it may be a neighbour that has moved, or a lie.
TEST_F(ArpTest, AnUnaskedAnswerWithAnotherAddressIsChecked) {
  start_empty();
  ASSERT_TRUE(send_udp(kPeer, 1));
  peer_answers();
  const MacAddress other{{2, 0, 0, 0, 0, 9}};
  peer_answers(other);
  EXPECT_EQ(neighbor(kPeer)->state, NeighborState::stale);
  host.sent.clear();
  ASSERT_TRUE(send_udp(kPeer, 1));
  EXPECT_EQ(host.sent.back().ethernet().destination(), other);
  pass(Duration::seconds(1));
  EXPECT_EQ(requests(other), 2u);
  pass(Duration::seconds(1));
  EXPECT_EQ(requests(), 1u);
  peer_answers();
  ASSERT_TRUE(send_udp(kPeer, 1));
  EXPECT_EQ(host.sent.back().ethernet().destination(), kPeerMac);
  EXPECT_EQ(neighbor(kPeer)->state, NeighborState::reachable);
}

// RFC 1122 section 2.3.2.1 (4).
TEST_F(ArpTest, ANeighbourThatNothingComesBackFromIsAskedAtOnceButNotWithEveryDoubt) {
  start_empty();
  ASSERT_TRUE(send_udp(kPeer, 1));
  peer_answers();
  host.sent.clear();
  network.doubt(now, *network.find_path(kPeer));  // just confirmed
  ASSERT_TRUE(send_udp(kPeer, 1));
  EXPECT_EQ(requests(kPeerMac), 0u);
  pass(Duration::seconds(1));
  network.doubt(now, *network.find_path(kPeer));
  EXPECT_EQ(requests(kPeerMac), 0u);  // not before something is sent
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(send_udp(kPeer, 1));
    network.doubt(now, *network.find_path(kPeer));
  }
  EXPECT_EQ(requests(kPeerMac), 1u);
  network.doubt(now, *network.find_path(Ipv4Address::of(10, 9, 0, 77)));  // nobody knows it
  EXPECT_EQ(neighbor(Ipv4Address::of(10, 9, 0, 77)), nullptr);
}

TEST_F(ArpTest, UnaskedAnswersAddNothing) {
  start_empty();
  peer_answers();
  EXPECT_EQ(neighbor(kPeer), nullptr);
  EXPECT_EQ(drops(Drop::arp_not_ours), 0u);  // it was to us
}

TEST_F(ArpTest, ImpossibleSendersAreDropped) {
  start_empty();
  receive(arp_frame(wire::kArpRequest, MacAddress{{3, 0, 0, 0, 0, 2}}, kPeer, {}, kOurs));             // a group
  receive(arp_frame(wire::kArpRequest, kPeerMac, Ipv4Address::of(192, 0, 2, 1), {}, kOurs));           // not on this link
  receive(arp_frame(wire::kArpRequest, kPeerMac, Ipv4Address::of(10, 9, 0, 255), {}, kOurs));          // broadcast
  EXPECT_EQ(drops(Drop::arp_sender), 3u);
  EXPECT_TRUE(host.sent.empty());
}

TEST_F(ArpTest, MalformedPacketsAreCounted) {
  start_empty();
  receive(test::join(test::emit(wire::EthernetFields{MacAddress::broadcast(), kPeerMac, wire::kEtherArp}), Bytes(27)));
  EXPECT_EQ(drops(Drop::arp_malformed), 1u);
}

TEST_F(ArpTest, ProbesBeforeUseAndDefersOutput) {
  start_empty(true);
  ASSERT_EQ(host.sent.size(), 1u);
  EXPECT_TRUE(host.sent[0].arp().sender_ip().is_any());
  EXPECT_EQ(host.sent[0].arp().target_ip(), kOurs);
  EXPECT_EQ(send_udp(kPeer, 1).error(), Errc::address_not_available);
  EXPECT_EQ(drops(Drop::address_tentative), 1u);
  peer_asks();  // not ours yet: no answer
  EXPECT_EQ(host.sent.size(), 1u);
  pass(Duration::seconds(1));
  ASSERT_EQ(host.address_events.size(), 1u);
  EXPECT_TRUE(host.address_events[0].first);
  EXPECT_EQ(host.sent.back().arp().sender_ip(), kOurs);  // the announcement
  EXPECT_EQ(counters.arp_requests_out, 4u);
  EXPECT_TRUE(send_udp(kPeer, 1));
}

TEST_F(ArpTest, AnOwnerWhoAnswersTheProbeKeepsTheAddress) {
  start_empty(true);
  receive(arp_frame(wire::kArpReply, kPeerMac, kOurs, kOurMac, {}));
  ASSERT_EQ(host.address_events.size(), 1u);
  EXPECT_FALSE(host.address_events[0].first);
  EXPECT_EQ(host.address_events[0].second, kPeerMac);
  pass(Duration::seconds(5));
  EXPECT_EQ(host.sent.size(), 1u);
  EXPECT_EQ(send_udp(kPeer, 1).error(), Errc::address_not_available);
}

TEST_F(ArpTest, TwoWhoProbeAtOnceBothStop) {
  start_empty(true);
  receive(arp_frame(wire::kArpRequest, kPeerMac, {}, {}, kOurs));
  ASSERT_EQ(host.address_events.size(), 1u);
  EXPECT_FALSE(host.address_events[0].first);
}

TEST_F(ArpTest, AProbeForAnAddressInUseIsAnswered) {
  start_empty();
  receive(arp_frame(wire::kArpRequest, kPeerMac, {}, {}, kOurs));
  ASSERT_EQ(host.sent.size(), 1u);
  EXPECT_EQ(host.sent[0].arp().operation(), wire::kArpReply);
  EXPECT_TRUE(host.address_events.empty());
}

TEST_F(ArpTest, LaterConflictsAreDefendedAtMostEveryTenSeconds) {
  start_empty();
  for (int i = 0; i < 12; ++i) {
    receive(arp_frame(wire::kArpRequest, kPeerMac, kOurs, {}, kOurs));
    pass(Duration::seconds(1));
  }
  EXPECT_EQ(counters.arp_conflicts, 12u);
  EXPECT_EQ(requests(), 2u);
  EXPECT_TRUE(host.address_events.empty());
}

TEST_F(ArpTest, QueueFullAndNoMemoryAreRefused) {
  start_empty();
  for (uint32_t i = 0; i < NeighborTable::kMaxWaiting; ++i) ASSERT_TRUE(send_udp(kPeer, 1));
  EXPECT_EQ(send_udp(kPeer, 1).error(), Errc::no_buffers);
  EXPECT_EQ(drops(Drop::arp_queue_full), 1u);
  port::set_allocation_gate([](size_t) { return false; });
  EXPECT_EQ(send_udp(Ipv4Address::of(10, 9, 0, 3), 1).error(), Errc::no_buffers);
  port::set_allocation_gate(nullptr);
}

// Whoever is told may send at once, to the silent neighbour and to others.
TEST_F(ArpTest, SendingFromWithinTheErrorUpcallIsSafe) {
  struct Talker : test::FakeHost {
    using FakeHost::FakeHost;
    std::function<void()> then;
    void on_icmp_error(Instant t, const IcmpError& e) override {
      FakeHost::on_icmp_error(t, e);
      then();
    }
  } talker{memory};
  Counters c;
  Network net{talker, memory, c, 1};
  ASSERT_TRUE(net.add_interface(now, test::link_interface()));
  uint8_t next = 10;
  const auto say = [&](Ipv4Address to) {
    buf::Packet p;
    Network::begin(p);
    p.append_header(8);
    return net.send(now, *net.find_path(to), {kOurs, to, wire::kProtocolUdp}, p).error();
  };
  talker.then = [&] {
    EXPECT_EQ(say(kPeer), Errc::host_unreachable);
    say(Ipv4Address::of(10, 9, 0, next++));
  };
  ASSERT_EQ(say(kPeer), Errc::ok);
  ASSERT_EQ(say(kPeer), Errc::ok);
  for (int i = 0; i < 3; ++i) {
    now = now + Duration::seconds(1);
    net.on_timer(now);
  }
  EXPECT_EQ(talker.errors.size(), 2u);
  EXPECT_EQ(next, 12);
}

// The second of two stacks behind one address: it speaks to the neighbours that it needs, and leaves the rest to the first.
TEST_F(ArpTest, AQuietInterfaceLearnsAndAsksButNeitherAnnouncesNorAnswersNorDefends) {
  Interface quiet = test::link_interface();
  quiet.quiet = true;
  ASSERT_TRUE(network.add_interface(now, quiet, true));
  pass(Duration::seconds(5));
  EXPECT_TRUE(host.sent.empty());
  peer_asks();
  receive(arp_frame(wire::kArpReply, kPeerMac, kOurs, {}, kOurs));  // somebody has our address
  EXPECT_TRUE(host.sent.empty());
  ASSERT_TRUE(send_udp(kPeer, 100));
  ASSERT_FALSE(host.sent.empty());
  EXPECT_EQ(host.sent[0].ethernet().destination(), kPeerMac) << "the question told who asked";
}

}  // namespace
}  // namespace ferry::net

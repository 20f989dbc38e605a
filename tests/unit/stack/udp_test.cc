// Datagram sockets: who gets what, what may be sent, ICMP echo.
#include <gtest/gtest.h>

#include "support/stack_pair.h"
#include "tcp/connection.h"

namespace ferry::stack {
namespace {

using support::StackPair;

struct UdpTest : testing::Test {
  StackPair p;
  SocketId udp(int side, const wire::Endpoint& local) {
    const SocketId s = p.open(side, SocketType::udp);
    EXPECT_EQ(p.bind(side, s, local), Errc::ok);
    return s;
  }
};

TEST_F(UdpTest, ADatagramArrivesWithItsAddresses) {
  const SocketId a = udp(0, StackPair::any(1000)), b = udp(1, StackPair::any(2000));
  EXPECT_EQ(p.send_to(0, a, "hello", StackPair::at(1, 2000)), Errc::ok);
  p.run();
  ASSERT_EQ(p.datagrams[1].size(), 1u);
  EXPECT_EQ(p.datagrams[1][0].text, "hello");
  EXPECT_EQ(p.datagrams[1][0].owner, p.owner_of(1, b));
  EXPECT_EQ(p.datagrams[1][0].info.remote, StackPair::at(0, 1000));
  EXPECT_EQ(p.datagrams[1][0].info.local, StackPair::at(1, 2000));
  EXPECT_EQ(p.datagrams[1][0].info.ttl, 64);
}

TEST_F(UdpTest, EmptyAndLargeDatagrams) {
  const SocketId a = udp(0, StackPair::any(1000));
  udp(1, StackPair::any(2000));
  const std::string large(60'000, 'x');
  EXPECT_EQ(p.send_to(0, a, "", StackPair::at(1, 2000)), Errc::ok);
  EXPECT_EQ(p.send_to(0, a, large, StackPair::at(1, 2000)), Errc::ok);
  p.run();
  ASSERT_EQ(p.datagrams[1].size(), 2u);
  EXPECT_EQ(p.datagrams[1][0].text, "");
  EXPECT_EQ(p.datagrams[1][1].text, large);
  EXPECT_EQ(p.send_to(0, a, std::string(65'508, 'x'), StackPair::at(1, 2000)), Errc::message_size);
  p.set(0, a, Option::dont_fragment, 1);
  EXPECT_EQ(p.send_to(0, a, std::string(1473, 'x'), StackPair::at(1, 2000)), Errc::message_size);
}

TEST_F(UdpTest, ConnectedBeforeSpecificBeforeAny) {
  const SocketId a = udp(0, StackPair::any(1000)), other = udp(0, StackPair::any(1001));
  SocketId s[3];
  for (int i = 0; i < 3; ++i) {
    s[i] = p.open(1, SocketType::udp);
    p.set(1, s[i], Option::reuse_address, 1);
    EXPECT_EQ(p.bind(1, s[i], i == 0 ? StackPair::any(2000) : StackPair::at(1, 2000)), Errc::ok);
  }
  EXPECT_EQ(p.connect(1, s[2], StackPair::at(0, 1000)), Errc::ok);
  p.send_to(0, a, "to the connected", StackPair::at(1, 2000));
  p.send_to(0, other, "to the specific", StackPair::at(1, 2000));
  p.run();
  ASSERT_EQ(p.datagrams[1].size(), 2u);
  EXPECT_EQ(p.datagrams[1][0].owner, p.owner_of(1, s[2]));
  EXPECT_EQ(p.datagrams[1][1].owner, p.owner_of(1, s[1]));
  p.close(1, s[1]);
  p.close(1, s[2]);
  p.send_to(0, a, "to any", StackPair::at(1, 2000));
  p.run();
  EXPECT_EQ(p.datagrams[1].back().owner, p.owner_of(1, s[0]));
}

TEST_F(UdpTest, AConnectedSocketHearsItsPeerOnly) {
  const SocketId a = udp(0, StackPair::any(1000)), stranger = udp(0, StackPair::any(1001));
  const SocketId b = udp(1, StackPair::any(2000));
  EXPECT_EQ(p.connect(1, b, StackPair::at(0, 1000)), Errc::ok);
  p.send_to(0, stranger, "x", StackPair::at(1, 2000));
  p.run();
  EXPECT_TRUE(p.datagrams[1].empty());
  EXPECT_EQ(p.connect(0, stranger, StackPair::at(1, 2000)), Errc::ok);
  EXPECT_EQ(p.send_to(0, stranger, "y", {}), Errc::ok);
  EXPECT_EQ(p.connect(1, b, {}), Errc::ok);  // disconnected: hears all again
  p.send_to(0, a, "z", StackPair::at(1, 2000));
  p.run();
  EXPECT_EQ(p.datagrams[1].back().text, "z");
}

TEST_F(UdpTest, AClosedPortIsReportedToConnectedSenders) {
  const SocketId a = p.open(0, SocketType::udp), b = udp(0, StackPair::any(1001));
  EXPECT_EQ(p.connect(0, a, StackPair::at(1, 9)), Errc::ok);
  EXPECT_EQ(p.send_to(0, a, "x", {}), Errc::ok);
  p.run();
  ASSERT_EQ(p.icmp_errors[0].size(), 1u);
  EXPECT_EQ(p.icmp_errors[0][0].owner, p.owner_of(0, a));
  EXPECT_EQ(p.icmp_errors[0][0].error.error, Errc::refused);
  EXPECT_EQ(p.icmp_errors[0][0].error.remote, StackPair::at(1, 9));
  EXPECT_EQ(p.counter(1, "drop_udp_no_socket"), 1u);
  p.send_to(0, b, "x", StackPair::at(1, 9));
  p.run();
  EXPECT_EQ(p.icmp_errors[0].size(), 1u);  // unconnected: only if it asks
  p.set(0, b, Option::receive_errors, 1);
  p.send_to(0, b, "x", StackPair::at(1, 9));
  p.run();
  EXPECT_EQ(p.icmp_errors[0].size(), 2u);
}

TEST_F(UdpTest, BroadcastNeedsPermissionAndReachesEverySocket) {
  const SocketId a = udp(0, StackPair::any(1000));
  const wire::Endpoint all{wire::IpAddress::from(wire::Ipv4Address::of(10, 9, 0, 255)), 2000};
  EXPECT_EQ(p.send_to(0, a, "x", all), Errc::access);
  EXPECT_EQ(p.connect(0, a, all), Errc::access);
  p.set(0, a, Option::broadcast, 1);
  for (int i = 0; i < 2; ++i) {
    const SocketId s = p.open(1, SocketType::udp);
    p.set(1, s, Option::reuse_address, 1);
    EXPECT_EQ(p.bind(1, s, StackPair::any(2000)), Errc::ok);
  }
  EXPECT_EQ(p.send_to(0, a, "x", all), Errc::ok);
  p.run();
  EXPECT_EQ(p.datagrams[1].size(), 2u);
}

// As DTLS and QUIC servers do it. Broadcasts still go to whoever they match.
TEST_F(UdpTest, ASocketForEveryClientOnOnePort) {
  constexpr uint16_t kClients = 300;
  const auto shared = [&] {
    const SocketId s = p.open(1, SocketType::udp);
    p.set(1, s, Option::reuse_address, 1);
    EXPECT_EQ(p.bind(1, s, StackPair::any(2000)), Errc::ok);
    return s;
  };
  const SocketId rest = shared();
  std::vector<SocketId> clients, servers;
  for (uint16_t i = 0; i < kClients; ++i) {
    clients.push_back(udp(0, StackPair::any(static_cast<uint16_t>(1000 + i))));
    servers.push_back(shared());
    EXPECT_EQ(p.connect(1, servers.back(), StackPair::at(0, static_cast<uint16_t>(1000 + i))), Errc::ok);
  }
  const auto receiver_of = [&](SocketId client, const wire::Endpoint& to = StackPair::at(1, 2000)) {
    p.datagrams[1].clear();
    EXPECT_EQ(p.send_to(0, client, "x", to), Errc::ok);
    p.run(Duration::ms(1));
    return p.datagrams[1].size() == 1 ? p.datagrams[1][0].owner : Owner{};
  };
  for (uint16_t i = 0; i < kClients; ++i) EXPECT_EQ(receiver_of(clients[i]), p.owner_of(1, servers[i])) << i;
  const SocketId stranger = udp(0, StackPair::any(999));
  EXPECT_EQ(receiver_of(stranger), p.owner_of(1, rest));
  p.close(1, servers[0]);
  EXPECT_EQ(receiver_of(clients[0]), p.owner_of(1, rest));
  EXPECT_EQ(p.connect(1, servers[1], StackPair::at(0, 999)), Errc::ok);
  EXPECT_EQ(receiver_of(stranger), p.owner_of(1, servers[1]));
  EXPECT_EQ(receiver_of(clients[1]), p.owner_of(1, rest));

  const wire::Endpoint all{wire::IpAddress::from(wire::Ipv4Address::of(10, 9, 0, 255)), 2000};
  p.set(0, clients[2], Option::broadcast, 1);
  receiver_of(clients[2], all);
  ASSERT_EQ(p.datagrams[1].size(), 2u);  // the one for the rest, and the one for this client
  EXPECT_EQ(p.datagrams[1][0].owner, p.owner_of(1, rest));
  EXPECT_EQ(p.datagrams[1][1].owner, p.owner_of(1, servers[2]));
}

TEST_F(UdpTest, SendRefusesWhatCannotBe) {
  const SocketId a = p.open(0, SocketType::udp);
  EXPECT_EQ(p.send_to(0, a, "x", {}), Errc::destination_required);
  EXPECT_EQ(p.send_to(0, a, "x", StackPair::at(1, 0)), Errc::invalid);
  EXPECT_EQ(p.send_to(0, a, "x", {wire::IpAddress::from(wire::Ipv4Address::of(192, 168, 0, 1)), 9}), Errc::net_unreachable);
  EXPECT_EQ(p.send_to(0, a, "x", StackPair::at(1, 9), StackPair::at(1, 0)), Errc::invalid);  // not our address
  EXPECT_EQ(p.send(0, a, "x"), Errc::not_supported);
  EXPECT_EQ(p.listen(0, a), Errc::not_supported);
  EXPECT_EQ(p.shutdown(0, a, 2), Errc::not_connected);
  const SocketId t = p.open(0);
  EXPECT_EQ(p.send_to(0, t, "x", StackPair::at(1, 9)), Errc::not_supported);
}

TEST_F(UdpTest, TheSocketsOptionsAreOnThePackets) {
  const SocketId a = udp(0, StackPair::any(1000));
  udp(1, StackPair::any(2000));
  p.set(0, a, Option::ttl, 7);
  p.set(0, a, Option::tos, 0x10);
  p.send_to(0, a, "x", StackPair::at(1, 2000));
  p.run();
  ASSERT_EQ(p.datagrams[1].size(), 1u);
  EXPECT_EQ(p.datagrams[1][0].info.ttl, 7);
  EXPECT_EQ(p.datagrams[1][0].info.tos, 0x10);
  EXPECT_EQ(p.set(0, a, Option::ttl, 0), Errc::invalid);
  EXPECT_EQ(p.set(0, a, Option::no_delay, 1), Errc::no_protocol_option);
}

TEST_F(UdpTest, ToOurselves) {
  const SocketId a = udp(0, StackPair::any(1000));
  EXPECT_EQ(p.send_to(0, a, "me", StackPair::loopback(1000)), Errc::ok);
  EXPECT_EQ(p.send_to(0, a, "me too", StackPair::at(0, 1000)), Errc::ok);
  ASSERT_EQ(p.datagrams[0].size(), 2u);  // within the call
  EXPECT_EQ(p.datagrams[0][0].info.remote, StackPair::loopback(1000));
}

TEST_F(UdpTest, ClosingReportsClosedAndFreesThePort) {
  const SocketId a = udp(0, StackPair::any(1000));
  const Owner owner = p.owner_of(0, a);
  EXPECT_EQ(p.close(0, a), Errc::ok);
  EXPECT_EQ(p.events(0, owner), static_cast<uint32_t>(tcp::Event::closed));
  EXPECT_EQ(p.close(0, a), Errc::bad_socket);
  udp(0, StackPair::any(1000));
}

TEST_F(UdpTest, EchoRequestsAreAnswered) {
  const SocketId s = p.open(0, SocketType::icmp_echo);
  ASSERT_EQ(p.bind(0, s, StackPair::any(77)), Errc::ok);
  Call call;
  call.op = CallOp::send_echo;
  call.socket = s;
  call.remote = StackPair::at(1, 0);
  call.number = 5;
  const std::string data = "ping";
  call.data = p.host(0).provide(p.owner_of(0, s), std::as_bytes(std::span(data)));
  EXPECT_EQ(p.call(0, call).error, Errc::ok);
  p.run();
  ASSERT_EQ(p.datagrams[0].size(), 1u);
  EXPECT_EQ(p.datagrams[0][0].owner, p.owner_of(0, s));
  EXPECT_EQ(p.datagrams[0][0].info.remote.port, 5);
  EXPECT_EQ(p.datagrams[0][0].info.local.port, 77);
  EXPECT_EQ(p.datagrams[0][0].text.substr(8), "ping");
  call.number = 70000;
  EXPECT_EQ(p.call(0, call).error, Errc::invalid);
}

}  // namespace
}  // namespace ferry::stack

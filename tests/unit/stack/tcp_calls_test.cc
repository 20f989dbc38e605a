// What listen, connect, accept, send, shutdown and close of TCP sockets do and refuse.
#include <gtest/gtest.h>

#include "support/stack_pair.h"
#include "tcp/connection.h"

namespace ferry::stack {
namespace {

using support::StackPair;

bool has(uint32_t events, tcp::Event e) { return (events & static_cast<uint32_t>(e)) != 0; }

TEST(TcpCalls, AConnectionCarriesDataBothWaysAndEnds) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  const auto c = p.connected(0, l, 80);
  EXPECT_TRUE(has(p.events_of(0, c.client), tcp::Event::established));
  EXPECT_EQ(p.acceptables(1), 1);
  EXPECT_EQ(p.send(0, c.client, "hello"), Errc::ok);
  p.run();
  EXPECT_EQ(p.receive(1, c.server), "hello");
  EXPECT_EQ(p.send(1, c.server, "world"), Errc::ok);
  p.run();
  EXPECT_EQ(p.receive(0, c.client), "world");
  EXPECT_EQ(p.shutdown(0, c.client, 2), Errc::ok);
  p.run();
  EXPECT_TRUE(has(p.events_of(1, c.server), tcp::Event::peer_closed));
  EXPECT_EQ(p.send(0, c.client, "x"), Errc::broken_pipe);
  const Owner server_owner = p.owner_of(1, c.server), client_owner = p.owner_of(0, c.client);
  EXPECT_EQ(p.close(1, c.server), Errc::ok);
  EXPECT_EQ(p.send(1, c.server, "x"), Errc::bad_socket);
  p.run();
  EXPECT_EQ(p.close(0, c.client), Errc::ok);
  p.run();
  EXPECT_TRUE(has(p.events(1, server_owner), tcp::Event::closed));
  EXPECT_TRUE(has(p.events(0, client_owner), tcp::Event::closed));
  EXPECT_EQ(p.counter(0, "tcp_time_waits"), 1u);
  p.run(Duration::seconds(61));
  EXPECT_EQ(p.counter(0, "tcp_time_waits"), 0u);
  EXPECT_EQ(p.counter(0, "sockets"), 0u);
  EXPECT_EQ(p.host(0).total_outstanding(), 0u);
}

TEST(TcpCalls, NobodyListens) {
  StackPair p;
  const SocketId s = p.open(0);
  EXPECT_EQ(p.connect(0, s, StackPair::at(1, 80)), Errc::in_progress);
  EXPECT_EQ(p.connect(0, s, StackPair::at(1, 80)), Errc::already);
  p.run();
  EXPECT_TRUE(has(p.events_of(0, s), tcp::Event::failed));
  EXPECT_EQ(p.info(0, s).error, Errc::refused);
  // The same socket may try again.
  p.listener(1, 80);
  EXPECT_EQ(p.connect(0, s, StackPair::at(1, 80)), Errc::in_progress);
  p.run();
  EXPECT_EQ(p.info(0, s).tcp_state, static_cast<uint8_t>(tcp::State::established));
  EXPECT_EQ(p.info(0, s).error, Errc::ok);
}

TEST(TcpCalls, ConnectRefusesWhatCannotBe) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  const auto c = p.connected(0, l, 80);
  EXPECT_EQ(p.connect(0, c.client, StackPair::at(1, 80)), Errc::is_connected);
  EXPECT_EQ(p.connect(1, l, StackPair::at(0, 80)), Errc::is_connected);
  const SocketId s = p.open(0);
  EXPECT_EQ(p.connect(0, s, {wire::IpAddress::from(wire::Ipv4Address::of(192, 168, 0, 1)), 80}), Errc::net_unreachable);
  EXPECT_EQ(p.connect(0, s, {wire::IpAddress::from(wire::Ipv4Address::of(10, 9, 0, 255)), 80}), Errc::net_unreachable);
  EXPECT_EQ(p.connect(0, s, StackPair::at(1, 0)), Errc::address_not_available);
  wire::Endpoint v6{{}, 80};
  v6.address.octets[0] = 0x20;
  EXPECT_EQ(p.connect(0, s, v6), Errc::net_unreachable);
  EXPECT_EQ(p.send(0, s, "x"), Errc::not_connected);
}

TEST(TcpCalls, TwoConnectionsFromOnePortNeedDifferentPeers) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  p.listener(1, 81);
  const SocketId a = p.open(0), b = p.open(0);
  for (SocketId s : {a, b}) {
    EXPECT_EQ(p.set(0, s, Option::reuse_address, 1), Errc::ok);
    EXPECT_EQ(p.bind(0, s, StackPair::any(5000)), Errc::ok);
  }
  EXPECT_EQ(p.connect(0, a, StackPair::at(1, 80)), Errc::in_progress);
  EXPECT_EQ(p.connect(0, b, StackPair::at(1, 80)), Errc::address_not_available);
  EXPECT_EQ(p.connect(0, b, StackPair::at(1, 81)), Errc::in_progress);
  p.run();
  EXPECT_EQ(p.accept(1, l).remote, StackPair::at(0, 5000));
}

TEST(TcpCalls, ListenNeedsAPortOfItsOwn) {
  StackPair p;
  const SocketId a = p.open(0), b = p.open(0);
  for (SocketId s : {a, b}) {
    p.set(0, s, Option::reuse_address, 1);
    EXPECT_EQ(p.bind(0, s, StackPair::any(80)), Errc::ok);
  }
  EXPECT_EQ(p.listen(0, a), Errc::ok);
  EXPECT_EQ(p.listen(0, b), Errc::address_in_use);
  EXPECT_EQ(p.listen(0, a, 100), Errc::ok);  // only the backlog changes
  const SocketId unbound = p.open(0);
  EXPECT_EQ(p.listen(0, unbound), Errc::ok);
  EXPECT_NE(p.info(0, unbound).local.port, 0);
}

TEST(TcpCalls, AcceptIsInOrderAndEmptySaysAgain) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  EXPECT_EQ(p.accept(1, l).error, Errc::again);
  const SocketId a = p.queued(0, 80), b = p.queued(0, 80);
  EXPECT_EQ(p.info(1, l).receive_queue, 2u);
  EXPECT_EQ(p.accept(1, l).remote, p.info(0, a).local);
  EXPECT_EQ(p.accept(1, l).remote, p.info(0, b).local);
  EXPECT_EQ(p.accept(1, l).error, Errc::again);
  EXPECT_EQ(p.accept(0, a).error, Errc::invalid);
}

// As Linux: a program that was told that its listener is readable may block in accept(2).
TEST(TcpCalls, AcceptGetsWhatItsPeerHasResetAlready) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  const SocketId a = p.queued(0, 80), b = p.queued(0, 80);
  p.send(0, a, "last words");
  p.run();
  EXPECT_EQ(p.set(0, a, Option::linger, 0), Errc::ok);
  EXPECT_EQ(p.close(0, a), Errc::ok);
  p.run();
  EXPECT_EQ(p.info(1, l).receive_queue, 2u);
  const CallResult first = p.accept(1, l);
  ASSERT_EQ(first.error, Errc::ok);
  EXPECT_TRUE(has(p.events_of(1, first.socket), tcp::Event::failed));
  EXPECT_FALSE(has(p.events_of(1, first.socket), tcp::Event::closed)) << "there is somebody who will close it";
  EXPECT_EQ(p.info(1, first.socket).error, Errc::reset);
  EXPECT_EQ(p.receive(1, first.socket), "last words");
  EXPECT_EQ(p.accept(1, l).remote, p.info(0, b).local);
  EXPECT_EQ(p.close(1, first.socket), Errc::ok);
  EXPECT_TRUE(has(p.events_of(1, first.socket), tcp::Event::closed));
}

TEST(TcpCalls, WhatIsResetInTheQueueGoesWithItsListener) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  const auto reset_one = [&] {
    const SocketId s = p.queued(0, 80);
    p.set(0, s, Option::linger, 0);
    p.close(0, s);
    p.run();
  };
  reset_one();
  EXPECT_EQ(p.counter(1, "sockets"), 2u);
  EXPECT_EQ(p.close(1, l), Errc::ok);
  p.run();
  EXPECT_EQ(p.counter(1, "sockets"), 0u);
}

TEST(TcpCalls, AChildIsUsedOnlyAfterAccept) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  const SocketId a = p.open(0);
  p.connect(0, a, StackPair::at(1, 80));
  p.run();
  SocketId child = 0;
  for (uint32_t i = 1; i < 10 && child == 0; ++i) {
    const SocketId id = uint64_t{1} << 32 | i;
    if (id != l && p.owner_of(1, id) != 0 && p.info(1, id).socket == id && p.info(1, id).remote.port != 0) child = id;
  }
  ASSERT_NE(child, 0u);
  EXPECT_EQ(p.close(1, child), Errc::bad_socket);
  EXPECT_EQ(p.accept(1, l).socket, child);
  EXPECT_EQ(p.close(1, child), Errc::ok);
}

TEST(TcpCalls, LingerZeroResets) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  const auto c = p.connected(0, l, 80);
  EXPECT_EQ(p.set(0, c.client, Option::linger, 0), Errc::ok);
  EXPECT_EQ(p.close(0, c.client), Errc::ok);
  p.run();
  EXPECT_TRUE(has(p.events_of(1, c.server), tcp::Event::failed));
  EXPECT_EQ(p.info(1, c.server).error, Errc::reset);
  EXPECT_EQ(p.counter(0, "sockets"), 0u);
}

TEST(TcpCalls, DisconnectMakesTheSocketNew) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  const auto c = p.connected(0, l, 80);
  EXPECT_EQ(p.connect(0, c.client, {}), Errc::ok);
  p.run();
  EXPECT_EQ(p.info(1, c.server).error, Errc::reset);
  EXPECT_EQ(p.connect(0, c.client, StackPair::at(1, 80)), Errc::in_progress);
  p.run();
  EXPECT_EQ(p.info(0, c.client).tcp_state, static_cast<uint8_t>(tcp::State::established));
}

TEST(TcpCalls, ConnectToOurselves) {
  StackPair p;
  p.listener(0, 80);
  for (const wire::Endpoint& to : {StackPair::loopback(80), StackPair::at(0, 80), StackPair::any(80)}) {
    const SocketId s = p.open(0);
    EXPECT_EQ(p.connect(0, s, to), Errc::in_progress);
    p.run();
    EXPECT_EQ(p.info(0, s).tcp_state, static_cast<uint8_t>(tcp::State::established));
  }
  for (const auto& frame : p.sent[0]) EXPECT_NE(load_be16(frame, 12), 0x0800);  // nothing but ARP announcements left
}

TEST(TcpCalls, ConsumedMoreThanDeliveredIsRefused) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  const auto c = p.connected(0, l, 80);
  p.send(0, c.client, "abc");
  p.run();
  Call call;
  call.op = CallOp::consumed;
  call.socket = c.server;
  call.number = 4;
  EXPECT_EQ(p.call(1, call).error, Errc::invalid);
  call.number = 3;
  EXPECT_EQ(p.call(1, call).error, Errc::ok);
}

TEST(TcpCalls, TimeWaitPortIsTakenAgainWithReuseAddressOnly) {
  StackPair p;
  SocketId l = p.open(1);
  p.set(1, l, Option::reuse_address, 1);
  ASSERT_EQ(p.bind(1, l, StackPair::any(80)), Errc::ok);
  ASSERT_EQ(p.listen(1, l), Errc::ok);
  const auto c = p.connected(0, l, 80);
  p.close(1, c.server);  // the server closes first: TIME_WAIT is here
  p.run();
  p.close(0, c.client);
  p.run();
  p.close(1, l);
  ASSERT_EQ(p.counter(1, "tcp_time_waits"), 1u);
  const SocketId plain = p.open(1), reusing = p.open(1);
  EXPECT_EQ(p.bind(1, plain, StackPair::any(80)), Errc::address_in_use);
  p.set(1, reusing, Option::reuse_address, 1);
  EXPECT_EQ(p.bind(1, reusing, StackPair::any(80)), Errc::ok);
}

TEST(TcpCalls, EphemeralPortsDiffer) {
  StackPair p;
  p.listener(1, 80);
  uint16_t last = 0;
  int neighbours = 0;
  for (int i = 0; i < 50; ++i) {
    const SocketId s = p.open(0);
    ASSERT_EQ(p.connect(0, s, StackPair::at(1, 80)), Errc::in_progress);
    const uint16_t port = p.info(0, s).local.port;
    EXPECT_GE(port, 32768);
    EXPECT_LE(port, 60999);
    EXPECT_NE(port, last);
    if (port == last + 1) ++neighbours;
    last = port;
  }
  EXPECT_LT(neighbours, 25);  // RFC 6056: not just counted up
}

}  // namespace
}  // namespace ferry::stack

// Listeners: backlog, early ends of children, SO_REUSEPORT, TIME_WAIT taken over by a new SYN; segments for nobody.
#include <gtest/gtest.h>

#include <set>

#include "support/stack_pair.h"
#include "tcp/connection.h"

namespace ferry::stack {
namespace {

using support::StackPair;

bool has(uint32_t events, tcp::Event e) { return (events & static_cast<uint32_t>(e)) != 0; }

TEST(TcpInput, TheBacklogBoundsWaitingConnections) {
  StackPair p;
  const SocketId l = p.listener(1, 80, 2);
  for (int i = 0; i < 10; ++i) {
    p.connect(0, p.open(0), StackPair::at(1, 80));
    p.run(Duration::ms(5));
  }
  EXPECT_EQ(p.info(1, l).receive_queue, 3u);  // one more than the backlog, as on Linux
  EXPECT_GT(p.counter(1, "drop_tcp_backlog_full"), 0u);
  // Room again: those that were dropped try again.
  int accepted = 0;
  for (int i = 0; i < 20; ++i) {
    while (p.accept(1, l).error == Errc::ok) ++accepted;
    p.run(Duration::seconds(4));
  }
  EXPECT_EQ(accepted, 10);
}

TEST(TcpInput, WhatTheHostHoldsForAProgramCountsAgainstTheBacklog) {
  StackPair p;
  const SocketId l = p.listener(1, 80, 2);
  const auto connect = [&p](int count) {
    for (int i = 0; i < count; ++i) p.connect(0, p.open(0), StackPair::at(1, 80));
    p.run(Duration::ms(5));
  };
  connect(2);
  for (int i = 0; i < 2; ++i) ASSERT_EQ(p.accept(1, l).error, Errc::ok);
  ASSERT_EQ(p.set(1, l, Option::held, 2), Errc::ok);
  EXPECT_EQ(p.info(1, l).receive_queue, 2u);
  for (int i = 0; i < 4; ++i) connect(1);
  EXPECT_EQ(p.info(1, l).receive_queue, 3u);
  ASSERT_EQ(p.set(1, l, Option::held, 0), Errc::ok);
  p.run(Duration::seconds(4));  // those that were dropped try again
  EXPECT_EQ(p.info(1, l).receive_queue, 3u);
  EXPECT_EQ(p.set(1, l, Option::held, -1), Errc::invalid);
  EXPECT_EQ(p.set(0, p.open(0), Option::held, 1), Errc::invalid) << "not a listener";
}

TEST(TcpInput, ABurstBeyondTheBacklogIsNotReset) {
  StackPair p;
  const SocketId l = p.listener(1, 80, 5);
  std::vector<SocketId> clients;
  for (int i = 0; i < 64; ++i) {
    clients.push_back(p.open(0));
    p.connect(0, clients.back(), StackPair::at(1, 80));
  }
  int accepted = 0;
  for (int i = 0; i < 40; ++i) {
    while (p.accept(1, l).error == Errc::ok) ++accepted;
    p.run(Duration::ms(500));
  }
  EXPECT_EQ(accepted, 64);
  for (SocketId s : clients) EXPECT_EQ(p.info(0, s).error, Errc::ok);
}

TEST(TcpInput, ForgedSynsDoNotShutOutTheHonest) {
  StackPair p;
  const SocketId l = p.listener(1, 80, 4);
  p.send_to(0, p.open(0, SocketType::udp), "x", StackPair::at(1, 9));  // so that nothing waits for ARP
  p.run();
  // No answer reaches the first clients: their connections stay half open.
  uint16_t honest_port = 0;
  p.filter = [&](int side, std::vector<std::byte>& f) {
    return side == 0 || f.size() < 54 || load_be16(f, 12) != 0x0800 || load_be16(f, 36) == honest_port;
  };
  for (int i = 0; i < 200; ++i) p.connect(0, p.open(0), StackPair::at(1, 80));
  p.run(Duration::ms(800));
  EXPECT_GT(p.counter(1, "drop_tcp_backlog_full"), 0u);
  EXPECT_EQ(p.counter(1, "tcp_connections"), 128u);
  const SocketId honest = p.open(0);
  p.bind(0, honest, StackPair::any(4444));
  honest_port = 4444;
  p.connect(0, honest, StackPair::at(1, 80));
  p.run(Duration::ms(5));
  EXPECT_EQ(p.info(0, honest).tcp_state, static_cast<uint8_t>(tcp::State::established));
  EXPECT_EQ(p.info(1, l).receive_queue, 1u);
  EXPECT_EQ(p.counter(1, "tcp_connections"), 128u);
}

TEST(TcpInput, ClosingAListenerResetsItsChildren) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  const SocketId s = p.open(0);
  p.connect(0, s, StackPair::at(1, 80));
  p.run();
  p.close(1, l);
  p.run();
  EXPECT_EQ(p.info(0, s).error, Errc::reset);
  EXPECT_EQ(p.counter(1, "sockets"), 0u);
  EXPECT_EQ(p.host(1).undelivered(), 0u);
}

TEST(TcpInput, TheHostMayRefuseAChild) {
  StackPair p;
  p.refuse_incoming = true;
  const SocketId l = p.listener(1, 80);
  const SocketId s = p.open(0);
  p.connect(0, s, StackPair::at(1, 80));
  p.run();
  EXPECT_EQ(p.info(0, s).error, Errc::reset);
  EXPECT_EQ(p.counter(1, "sockets"), 1u);
  EXPECT_EQ(p.accept(1, l).error, Errc::again);
}

TEST(TcpInput, DataBeforeAcceptIsKept) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  const SocketId s = p.open(0);
  p.connect(0, s, StackPair::at(1, 80));
  p.run();
  p.send(0, s, "early");
  p.shutdown(0, s, 2);
  p.run();
  const SocketId child = p.accept(1, l).socket;
  EXPECT_EQ(p.receive(1, child), "early");
  EXPECT_TRUE(has(p.events_of(1, child), tcp::Event::peer_closed));
}

TEST(TcpInput, DeferredAcceptWaitsForData) {
  StackPair p;
  const SocketId l = p.open(1);
  p.bind(1, l, StackPair::any(80));
  p.set(1, l, Option::defer_accept, 5);
  p.listen(1, l);
  const SocketId s = p.open(0);
  p.connect(0, s, StackPair::at(1, 80));
  p.run();
  EXPECT_EQ(p.accept(1, l).error, Errc::again);
  p.send(0, s, "now");
  p.run();
  const CallResult r = p.accept(1, l);
  EXPECT_EQ(r.error, Errc::ok);
  EXPECT_EQ(p.receive(1, r.socket), "now");
}

TEST(TcpInput, ReusePortSpreadsConnections) {
  StackPair p;
  SocketId l[3];
  for (SocketId& s : l) {
    s = p.open(1, SocketType::tcp, 1000);
    p.set(1, s, Option::reuse_port, 1);
    ASSERT_EQ(p.bind(1, s, StackPair::any(80)), Errc::ok);
    ASSERT_EQ(p.listen(1, s, 100), Errc::ok);
  }
  for (int i = 0; i < 60; ++i) p.connect(0, p.open(0), StackPair::at(1, 80));
  p.run();
  uint32_t total = 0;
  for (SocketId s : l) {
    EXPECT_GT(p.info(1, s).receive_queue, 3u);
    total += p.info(1, s).receive_queue;
  }
  EXPECT_EQ(total, 60u);
}

TEST(TcpInput, TheMoreSpecificListenerWins) {
  StackPair p;
  SocketId any = p.open(1), specific = p.open(1);
  for (SocketId s : {any, specific}) p.set(1, s, Option::reuse_port, 1);
  ASSERT_EQ(p.bind(1, any, StackPair::any(80)), Errc::ok);
  ASSERT_EQ(p.bind(1, specific, StackPair::at(1, 80)), Errc::ok);
  ASSERT_EQ(p.listen(1, any), Errc::ok);
  ASSERT_EQ(p.listen(1, specific), Errc::ok);
  p.connect(0, p.open(0), StackPair::at(1, 80));
  p.run();
  EXPECT_EQ(p.info(1, any).receive_queue, 0u);
  EXPECT_EQ(p.info(1, specific).receive_queue, 1u);
}

TEST(TcpInput, ANewSynTakesOverATimeWait) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  SocketId s = p.open(0);
  p.bind(0, s, StackPair::any(5000));
  p.connect(0, s, StackPair::at(1, 80));
  p.run();
  const SocketId child = p.accept(1, l).socket;
  p.close(1, child);
  p.run();
  p.close(0, s);
  p.run();
  ASSERT_EQ(p.counter(1, "tcp_time_waits"), 1u);
  p.run(Duration::seconds(2));
  s = p.open(0);
  ASSERT_EQ(p.bind(0, s, StackPair::any(5000)), Errc::ok);
  ASSERT_EQ(p.connect(0, s, StackPair::at(1, 80)), Errc::in_progress);
  p.run();
  EXPECT_EQ(p.info(0, s).tcp_state, static_cast<uint8_t>(tcp::State::established));
  EXPECT_EQ(p.counter(1, "tcp_time_waits"), 0u);
}

TEST(TcpInput, OurOwnTimeWaitIsTakenOverByConnectAfterASecond) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  const auto open_from_5000 = [&] {
    const SocketId s = p.open(0);
    p.set(0, s, Option::reuse_address, 1);
    EXPECT_EQ(p.bind(0, s, StackPair::any(5000)), Errc::ok);
    return s;
  };
  SocketId s = open_from_5000();
  p.connect(0, s, StackPair::at(1, 80));
  p.run();
  const SocketId child = p.accept(1, l).socket;
  p.close(0, s);
  p.run();
  p.close(1, child);
  p.run();
  ASSERT_EQ(p.counter(0, "tcp_time_waits"), 1u);
  s = open_from_5000();
  EXPECT_EQ(p.connect(0, s, StackPair::at(1, 80)), Errc::address_not_available);
  p.run(Duration::seconds(2));
  EXPECT_EQ(p.connect(0, s, StackPair::at(1, 80)), Errc::in_progress);
  p.run();
  EXPECT_EQ(p.info(0, s).tcp_state, static_cast<uint8_t>(tcp::State::established));
  EXPECT_EQ(p.counter(0, "tcp_time_waits"), 0u);
}

TEST(TcpInput, TimeWaitsAreBounded) {
  StackPair::Setup setup;
  setup.config.max_time_wait = 3;
  StackPair p(setup);
  const SocketId l = p.listener(1, 80);
  for (int i = 0; i < 6; ++i) {
    const auto c = p.connected(0, l, 80);
    p.close(0, c.client);
    p.run();
    p.close(1, c.server);
    p.run();
  }
  EXPECT_EQ(p.counter(0, "tcp_time_waits"), 3u);
  EXPECT_EQ(p.counter(0, "tcp_time_waits_forgotten"), 3u);
}

TEST(TcpInput, DamagedAndBroadcastSegmentsAreDropped) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  const auto c = p.connected(0, l, 80);
  p.filter = [](int side, std::vector<std::byte>& f) {
    if (side == 0 && f.size() > 66) f.back() ^= std::byte{1};
    return true;
  };
  p.send(0, c.client, "damaged");
  p.run(Duration::ms(5));
  EXPECT_EQ(p.counter(1, "drop_tcp_checksum"), 1u);
  p.filter = nullptr;
  p.run(Duration::seconds(2));
  EXPECT_EQ(p.receive(1, c.server), "damaged");
}

}  // namespace
}  // namespace ferry::stack

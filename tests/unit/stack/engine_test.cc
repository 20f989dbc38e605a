// The stack as a whole: set-up, bounds, loopback, and every allocation failing in turn.
#include "stack/engine.h"

#include <gtest/gtest.h>

#include "port/user/hooks.h"
#include "support/stack_pair.h"

namespace ferry::stack {
namespace {

using support::StackPair;

int g_allocations_left = -1;  // negative: all succeed
bool gate(size_t) {
  if (g_allocations_left < 0) return true;
  return g_allocations_left-- > 0;
}

// A stack with a server, a client, datagrams and a time wait, as far as memory goes. True: it all worked.
bool scenario(support::MemoryHost& host) {
  Config config;
  config.max_sockets = 50;
  config.loopback_bytes = 1u << 20;
  auto made = Stack::create(config, host);
  if (!made) return false;
  Stack& stack = **made;
  Instant now;
  bool ok = true;
  Owner owners = 1;
  SocketId child = 0;
  host.incoming_hook = [&](Owner, SocketId id, const wire::Endpoint&, const wire::Endpoint&) {
    child = id;
    return owners++;
  };
  InterfaceConfig loopback;
  loopback.prefix = {wire::Ipv4Address::of(127, 0, 0, 1), 8};
  loopback.mtu = 65535;
  loopback.loopback = true;
  InterfaceConfig ethernet;
  ethernet.mac = {{2, 0, 0, 0, 0, 1}};
  ethernet.prefix = {wire::Ipv4Address::of(10, 0, 0, 1), 24};
  ok &= stack.add_interface(now, loopback).ok();
  ok &= stack.add_interface(now, ethernet).ok();
  const auto call = [&](CallOp op, SocketId socket, auto&& fill) {
    Call c;
    c.op = op;
    c.socket = socket;
    fill(c);
    const CallResult r = stack.call(now, c);
    if (r.error != Errc::ok && r.error != Errc::in_progress) ok = false;
    return r;
  };
  const auto open = [&](SocketType type) { return call(CallOp::open, 0, [&](Call& c) { c.type = type, c.owner = owners++; }).socket; };
  const auto run = [&] {
    for (int i = 0; i < 40 && stack.next_deadline() <= now + Duration::seconds(2); ++i) {
      if (stack.next_deadline() > now) now = stack.next_deadline();
      stack.on_timer(now);
    }
  };
  const wire::Endpoint self{wire::IpAddress::from(wire::Ipv4Address::of(127, 0, 0, 1)), 80};
  const SocketId listener = open(SocketType::tcp), client = open(SocketType::tcp), udp = open(SocketType::udp);
  call(CallOp::bind, listener, [&](Call& c) { c.local = self; });
  call(CallOp::listen, listener, [](Call& c) { c.number = 5; });
  const Owner client_owner = 2;
  call(CallOp::connect, client, [&](Call& c) { c.remote = self; });
  run();
  call(CallOp::accept, listener, [](Call&) {});
  const std::string text(30'000, 'q');
  const auto bytes = std::as_bytes(std::span(text));
  if (stack.send_space(client) > 0) {
    call(CallOp::send, client, [&](Call& c) { c.data = host.provide(client_owner, bytes); });
  } else {
    ok = false;
  }
  call(CallOp::send_datagram, udp, [&](Call& c) { c.data = host.provide(99, bytes), c.info.remote = self; });
  call(CallOp::send_datagram, udp, [&](Call& c) {
    c.data = host.provide(99, bytes.first(100)), c.info.remote = {wire::IpAddress::from(wire::Ipv4Address::of(10, 0, 0, 2)), 7};
  });
  run();
  if (child != 0) call(CallOp::close, child, [](Call&) {});
  call(CallOp::close, client, [](Call&) {});
  run();
  struct Sink final : Stack::RecordSink {
    void on_record(ByteSpan) override {}
  } sink;
  ok &= stack.for_each_record(sink).ok();
  call(CallOp::close, listener, [](Call&) {});
  run();
  ferry::destroy(&stack);
  return ok;
}

TEST(Engine, EveryAllocationMayFail) {
  port::set_allocation_gate(gate);
  int failures = 0;
  for (int n = 0; n < 500; ++n) {
    support::MemoryHost host;
    g_allocations_left = n;
    const bool ok = scenario(host);
    const bool exhausted = g_allocations_left <= 0;
    g_allocations_left = -1;
    EXPECT_TRUE(host.faults().empty()) << "allocation " << n << ": " << host.faults().front();
    if (!exhausted) {
      EXPECT_TRUE(ok);
      break;
    }
    ++failures;
  }
  port::set_allocation_gate(nullptr);
  EXPECT_GT(failures, 15);
  EXPECT_LT(failures, 500);
}

// One allocation fails, all others succeed: so that what comes after the failure is reached too.
int g_failing = -1, g_count = 0;
bool one_fails(size_t) { return g_count++ != g_failing; }

TEST(Engine, AnyOneAllocationMayFail) {
  port::set_allocation_gate(one_fails);
  for (g_failing = 0; g_failing < 500; ++g_failing) {
    support::MemoryHost host;
    g_count = 0;
    scenario(host);
    EXPECT_TRUE(host.faults().empty()) << "allocation " << g_failing << ": " << host.faults().front();
    EXPECT_EQ(host.undelivered(), 0u);
    if (g_count <= g_failing) break;
  }
  port::set_allocation_gate(nullptr);
  EXPECT_LT(g_failing, 500);
}

TEST(Engine, CreateChecksItsConfig) {
  support::MemoryHost host;
  Config config;
  config.max_sockets = 0;
  EXPECT_EQ(Stack::create(config, host).error(), Errc::invalid);
  config = {};
  config.ephemeral_first = 100;
  config.ephemeral_last = 99;
  EXPECT_EQ(Stack::create(config, host).error(), Errc::invalid);
  config = {};
  config.loopback_bytes = 10;
  EXPECT_EQ(Stack::create(config, host).error(), Errc::invalid);
}

TEST(Engine, TimeNeverGoesBackwards) {
  StackPair p;
  p.run(Duration::seconds(10));
  p.stack(0).on_timer(Instant::from_ns(0));
  const SocketId l = p.listener(1, 80);
  EXPECT_NE(p.connected(0, l, 80).server, 0u);
}

TEST(Engine, PacketsToOurselvesAreDeliveredWithinTheInput) {
  StackPair p;
  const SocketId a = p.open(0, SocketType::udp);
  p.bind(0, a, StackPair::any(7));
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(p.send_to(0, a, "x", StackPair::loopback(7)), Errc::ok);
  EXPECT_EQ(p.datagrams[0].size(), 1000u);
  EXPECT_EQ(p.counter(0, "loopback_bytes_queued"), 0u);
}

TEST(Engine, QueriesTellOfEverySocket) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  const auto c = p.connected(0, l, 80);
  p.open(1, SocketType::udp);
  p.send(0, c.client, "unread");
  p.run();
  struct Visitor final : SocketVisitor {
    std::vector<SocketInfo> all;
    void on_socket(const SocketInfo& info) override { all.push_back(info); }
  } visitor;
  p.stack(1).for_each_socket(visitor, p.now());
  ASSERT_EQ(visitor.all.size(), 3u);
  EXPECT_EQ(visitor.all[0].tcp_state, static_cast<uint8_t>(tcp::State::listen));
  EXPECT_EQ(visitor.all[0].send_queue, 16u);
  EXPECT_EQ(visitor.all[1].socket, c.server);
  EXPECT_EQ(visitor.all[1].receive_queue, 6u);
  EXPECT_EQ(visitor.all[2].type, static_cast<uint8_t>(SocketType::udp));
  auto info = p.stack(1).tcp_info(c.server, p.now());
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->bytes_received, 6u);
  EXPECT_EQ(p.stack(1).tcp_info(visitor.all[2].socket, p.now()).error(), Errc::not_supported);
  EXPECT_EQ(p.stack(1).tcp_info(l, p.now())->state, tcp::State::listen);
  EXPECT_GT(p.stack(0).send_space(c.client), 0u);
  EXPECT_EQ(p.stack(1).send_space(l), 0u);
  EXPECT_TRUE(p.stack(0).serves(wire::Ipv4Address::of(10, 9, 0, 77)));
  EXPECT_FALSE(p.stack(0).serves(wire::Ipv4Address::of(10, 10, 0, 1)));
  EXPECT_EQ(p.stack(0).interface_count(), 2u);
  EXPECT_EQ(p.stack(0).interface(0)->mtu, 1500u);
  EXPECT_EQ(p.stack(0).interface(2), nullptr);
  struct Neighbors final : NeighborVisitor {
    int resolved = 0;
    void on_neighbor(const NeighborInfo& n) override { resolved += n.resolved && n.mac.octets[5] == 2; }
  } neighbors;
  p.stack(0).for_each_neighbor(neighbors);
  EXPECT_EQ(neighbors.resolved, 1);
}

TEST(Engine, IdleConnectionsHaveNoDeadlines) {
  StackPair p;
  const SocketId l = p.listener(1, 80, 1000);
  for (int i = 0; i < 100; ++i) p.connected(0, l, 80);
  p.run(Duration::seconds(100));
  EXPECT_GT(p.stack(0).next_deadline(), p.now() + Duration::seconds(1));
  EXPECT_GT(p.stack(1).next_deadline(), p.now() + Duration::seconds(1));
}

}  // namespace
}  // namespace ferry::stack

// Calls that are the same for all sockets: open, bind, options; wrong ones are refused.
#include <gtest/gtest.h>

#include "support/stack_pair.h"

namespace ferry::stack {
namespace {

using support::StackPair;

TEST(Calls, OpenIsBounded) {
  StackPair::Setup setup;
  setup.config.max_sockets = 4;
  StackPair p(setup);
  SocketId last = 0;
  for (int i = 0; i < 4; ++i) {
    last = p.open(0, i % 2 == 0 ? SocketType::tcp : SocketType::udp);
    EXPECT_NE(last, 0u);
  }
  Call call;
  call.op = CallOp::open;
  call.owner = 1;
  EXPECT_EQ(p.call(0, call).error, Errc::too_many);
  p.close(0, last);
  EXPECT_EQ(p.call(0, call).error, Errc::ok);
}

TEST(Calls, OpenRefusesNonsense) {
  StackPair p;
  Call call;
  call.op = CallOp::open;
  EXPECT_EQ(p.call(0, call).error, Errc::invalid);  // no owner
  call.owner = 1;
  call.type = static_cast<SocketType>(9);
  EXPECT_EQ(p.call(0, call).error, Errc::not_supported);  // no server offers it
  call.op = static_cast<CallOp>(200);
  EXPECT_EQ(p.call(0, call).error, Errc::bad_socket);
  call.socket = p.open(0);
  EXPECT_EQ(p.call(0, call).error, Errc::not_supported);
  call.socket = p.open(0, SocketType::udp);
  EXPECT_EQ(p.call(0, call).error, Errc::not_supported);
}

TEST(Calls, BindChecksTheAddress) {
  StackPair p;
  const SocketId s = p.open(0);
  EXPECT_EQ(p.bind(0, s, StackPair::at(1, 80)), Errc::address_not_available);
  wire::Endpoint v6{{}, 80};
  v6.address.octets[0] = 0xfe;
  EXPECT_EQ(p.bind(0, s, v6), Errc::address_not_available);
  EXPECT_EQ(p.bind(0, s, {wire::IpAddress::from(wire::Ipv4Address::of(224, 0, 0, 1)), 80}), Errc::address_not_available);
  const SocketId u = p.open(0, SocketType::udp);
  EXPECT_EQ(p.bind(0, u, {wire::IpAddress::from(wire::Ipv4Address::of(224, 0, 0, 1)), 80}), Errc::ok);
  EXPECT_EQ(p.bind(0, s, StackPair::loopback(80)), Errc::ok);
  EXPECT_EQ(p.bind(0, s, StackPair::any(81)), Errc::invalid);  // twice
  EXPECT_EQ(p.info(0, s).local, StackPair::loopback(80));
}

TEST(Calls, BindToPortZeroTellsThePort) {
  StackPair p;
  Call call;
  call.op = CallOp::bind;
  call.socket = p.open(0);
  const CallResult r = p.call(0, call);
  EXPECT_EQ(r.error, Errc::ok);
  EXPECT_GE(r.local.port, 32768);
  EXPECT_EQ(p.info(0, call.socket).local, r.local);
}

TEST(Calls, OptionsAreKeptAndGivenToChildren) {
  StackPair p;
  const SocketId l = p.open(1);
  ASSERT_EQ(p.bind(1, l, StackPair::any(80)), Errc::ok);
  EXPECT_EQ(p.set(1, l, Option::no_delay, 1), Errc::ok);
  EXPECT_EQ(p.set(1, l, Option::keep_idle, 123), Errc::ok);
  EXPECT_EQ(p.set(1, l, Option::linger, 9), Errc::ok);
  EXPECT_EQ(p.set(1, l, Option::ttl, 33), Errc::ok);
  ASSERT_EQ(p.listen(1, l), Errc::ok);
  const auto c = p.connected(0, l, 80);
  const auto value = [&](Option o) {
    auto v = p.stack(1).option(c.server, o);
    return v ? *v : -100;
  };
  EXPECT_EQ(value(Option::no_delay), 1);
  EXPECT_EQ(value(Option::keep_idle), 123);
  EXPECT_EQ(value(Option::linger), 9);
  EXPECT_EQ(value(Option::ttl), 33);
  EXPECT_GT(value(Option::receive_buffer), 0);
  EXPECT_GT(value(Option::max_segment), 1000);
  EXPECT_EQ(p.set(1, c.server, Option::keep_idle, 0), Errc::invalid);
  EXPECT_EQ(p.set(1, c.server, Option::linger, -2), Errc::invalid);
  EXPECT_EQ(p.set(1, c.server, static_cast<Option>(99), 0), Errc::no_protocol_option);
  EXPECT_EQ(p.stack(1).option(99, Option::ttl).error(), Errc::bad_socket);
  EXPECT_EQ(p.stack(1).option(l, static_cast<Option>(99)).error(), Errc::no_protocol_option);
}

TEST(Calls, SetOwnerMovesWhatComesLater) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  const auto c = p.connected(0, l, 80);
  Call call;
  call.op = CallOp::set_owner;
  call.socket = c.server;
  call.owner = 4242;
  EXPECT_EQ(p.call(1, call).error, Errc::ok);
  p.send(0, c.client, "x");
  p.run();
  EXPECT_EQ(p.host(1).unread(4242), 1u);
  EXPECT_NE(p.events(1, 4242), 0u);
}

}  // namespace
}  // namespace ferry::stack

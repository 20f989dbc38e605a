// Several stacks behind one address: each connects from ports whose flows come back to it, and leaves the others' flows alone.
#include <gtest/gtest.h>

#include "support/stack_pair.h"
#include "tcp/connection.h"

namespace ferry::stack {
namespace {

using support::StackPair;

uint32_t share_of(const Endpoint& local, const Endpoint& remote) {
  return wire::share_of_flow(local.address.v4(), local.port, remote.address.v4(), remote.port, 2);
}

TEST(Share, ConnectsFromPortsOfItsShare) {
  for (uint32_t index : {0u, 1u}) {
    StackPair::Setup setup;
    setup.share[0] = {index, 2};
    StackPair p(setup);
    p.listener(1, 80, 100);
    for (int i = 0; i < 50; ++i) {
      const SocketId s = p.open(0);
      p.connect(0, s, StackPair::at(1, 80));
      EXPECT_EQ(share_of(p.info(0, s).local, StackPair::at(1, 80)), index);
    }
  }
}

TEST(Share, ConnectsToItselfFromAnyPort) {
  StackPair::Setup setup;
  setup.share[0] = {1, 2};
  StackPair p(setup);
  const SocketId l = p.listener(0, 80, 100);
  uint32_t seen = 0;
  for (int i = 0; i < 50; ++i) {
    const SocketId s = p.open(0);
    p.connect(0, s, StackPair::at(0, 80));
    seen |= 1u << share_of(p.info(0, s).local, StackPair::at(0, 80));
    p.run(Duration::ms(1));
    EXPECT_EQ(p.accept(0, l).error, Errc::ok);
  }
  EXPECT_EQ(seen, 3u);
}

TEST(Share, IsSilentAboutFlowsOfOthers) {
  StackPair::Setup setup;
  setup.share[1] = {0, 2};
  StackPair p(setup);
  p.listener(1, 80, 100);
  uint32_t asked[2] = {}, refused[2] = {}, connected[2] = {};
  for (int i = 0; i < 50; ++i) {
    for (uint16_t port : {uint16_t{80}, uint16_t{81}}) {  // one with a listener, one without
      const SocketId s = p.open(0);
      p.connect(0, s, StackPair::at(1, port));
      const Endpoint local = p.info(0, s).local;
      p.run(Duration::ms(2));
      const uint32_t share = share_of(StackPair::at(1, port), local);
      ++asked[share];
      refused[share] += p.info(0, s).error == Errc::refused;
      connected[share] += (p.events_of(0, s) & static_cast<uint32_t>(tcp::Event::established)) != 0;
    }
  }
  EXPECT_GT(asked[0], 20u);
  EXPECT_GT(asked[1], 20u);
  EXPECT_EQ(refused[0] + connected[0], asked[0]);
  EXPECT_EQ(refused[1] + connected[1], 0u);
  EXPECT_GE(p.counter(1, "drop_tcp_other_share"), asked[1]);
}

TEST(Share, IsRefusedBeyondTheCount) {
  Config config;
  config.share = {2, 2};
  support::MemoryHost host;
  EXPECT_EQ(Stack::create(config, host).error(), Errc::invalid);
}

// A listener's part in another stack: its port was asked for where all are known, and connections that are here do not stand in its way.
TEST(Share, AGrantedPortIsNotAskedForAgain) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  const StackPair::Connected c = p.connected(0, l, 80);
  const uint16_t taken = p.info(0, c.client).local.port;
  const SocketId s = p.open(0);
  EXPECT_EQ(p.bind(0, s, StackPair::any(taken)), Errc::address_in_use);
  Call bind;
  bind.op = CallOp::bind;
  bind.socket = s;
  bind.local = StackPair::any(taken);
  bind.flags = kBindGranted;
  EXPECT_EQ(p.call(0, bind).error, Errc::ok);
  EXPECT_EQ(p.listen(0, s), Errc::ok);
}

}  // namespace
}  // namespace ferry::stack

// Calls that come through a socket's output ring: order, outcomes, what a hostile client puts there.
#include "fixture.h"

namespace ferry::server {
namespace {

class SocketCallsTest : public ServerTest {
 protected:
  SocketCallsTest() : client(connect_client()) {}
  // A stream that is not connected.
  Socket& fresh(stack::SocketType type = stack::SocketType::tcp) {
    Socket& s = sockets.create(type);
    s.set_id(protocols.next_id++);
    ks.push_back(s.make_pair());
    s.attach(*client.channel());
    run();
    return s;
  }
  void post(Socket& s, uint16_t what, uint64_t argument, uint32_t length = 0) {
    push(shared(client, s), {argument, length, what, abi::kCall});
  }
  static constexpr uint64_t kPeer = uint64_t{0x0a090002} | uint64_t{80} << 32;
  static uint64_t option(uint32_t value, uint64_t level, uint64_t name) { return value | level << 32 | name << 48; }
  const stack::Call* last(stack::CallOp op) {
    const stack::Call* found = nullptr;
    for (const stack::Call& c : protocols.calls)
      if (c.op == op) found = &c;
    return found;
  }

  Client& client;
};

TEST_F(SocketCallsTest, AConnectIsPublishedBeforeItCountsAsTaken) {
  Socket& s = fresh();
  protocols.connect_error = Errc::in_progress;
  post(s, abi::kCallConnect, kPeer);
  ring(s);
  const stack::Call* call = last(stack::CallOp::connect);
  ASSERT_NE(call, nullptr);
  EXPECT_EQ(call->remote.port, 80u);
  EXPECT_EQ(call->remote.address, wire::IpAddress::from(wire::Ipv4Address{0x0a090002}));
  EXPECT_EQ(shared(client, s).tx_taken, 1u);
  EXPECT_NE(shared(client, s).ready & abi::kConnecting, 0u);
}

// Both were made since the turn has looked at the bells.
TEST_F(SocketCallsTest, AConnectFindsListenersGoneThatWereClosedBefore) {
  Socket& s = fresh();
  Socket& l = fresh();
  l.on_listening();
  run();
  atomic_or(shared(client, l).wants, uint32_t{abi::kWantClose});
  ks[1].reset();
  ipc::set_slot(client.channel()->memory()->map().header().doorbell[0], l.slot_in(*client.channel()));
  post(s, abi::kCallConnect, kPeer);
  s.mark();
  while (Socket* each = ctx.run.pop_front()) each->run();  // without a look at descriptors
  ASSERT_NE(last(stack::CallOp::connect), nullptr);
  ASSERT_NE(last(stack::CallOp::close), nullptr);
  EXPECT_LT(last(stack::CallOp::close), last(stack::CallOp::connect));
}

TEST_F(SocketCallsTest, AConnectThatFailsAtOnceIsAFailedConnection) {
  Socket& s = fresh();
  protocols.connect_error = Errc::address_not_available;
  post(s, abi::kCallConnect, kPeer);
  const uint32_t before = shared(client, s).event_seq;
  ring(s);
  EXPECT_EQ(shared(client, s).error, static_cast<uint32_t>(Errc::address_not_available));
  EXPECT_EQ(shared(client, s).ready & (abi::kConnecting | abi::kHangUp), uint32_t{abi::kHangUp});
  EXPECT_NE(shared(client, s).event_seq, before) << "whoever waits is told";
  protocols.connect_error = Errc::in_progress;  // and may be tried again
  post(s, abi::kCallConnect, kPeer);
  ring(s);
  EXPECT_EQ(shared(client, s).ready & (abi::kConnecting | abi::kHangUp), uint32_t{abi::kConnecting});
}

TEST_F(SocketCallsTest, WhatIsConnectedStaysAsItIs) {
  Socket& s = open(client);
  post(s, abi::kCallConnect, kPeer);
  write(client, s, "data");
  ring(s);
  EXPECT_EQ(last(stack::CallOp::connect), nullptr);
  EXPECT_EQ(protocols.sent, "data");
  EXPECT_EQ(shared(client, s).error, 0u);
}

TEST_F(SocketCallsTest, OptionsAreSetInOrderAndTheirErrorsDropped) {
  Socket& s = open(client);
  post(s, abi::kCallOption, option(1, 6, 1));           // TCP_NODELAY
  post(s, abi::kCallOption, option(7, 0xffff, 0xffff)); // nothing
  write(client, s, "data");
  ring(s);
  const stack::Call* call = last(stack::CallOp::set_option);
  ASSERT_NE(call, nullptr);
  EXPECT_EQ(call->option, stack::Option::no_delay);
  EXPECT_EQ(call->number, 1);
  EXPECT_EQ(protocols.count(stack::CallOp::set_option), 1u);
  EXPECT_EQ(protocols.sent, "data");
  EXPECT_FALSE(client.channel()->condemned);
}

TEST_F(SocketCallsTest, CallsWaitForNoDoorbellWhenAnotherIsAnswered) {
  Socket& s = open(client);
  post(s, abi::kCallOption, option(1, 6, 1));
  s.catch_up();
  EXPECT_EQ(protocols.count(stack::CallOp::set_option), 1u);
  ring(s);
  EXPECT_EQ(protocols.count(stack::CallOp::set_option), 1u);
}

TEST_F(SocketCallsTest, AClosedSocketsConnectIsMadeAndEnded) {
  Socket& s = fresh();
  protocols.connect_error = Errc::in_progress;
  post(s, abi::kCallConnect, kPeer);
  ks.clear();
  run();
  EXPECT_EQ(protocols.count(stack::CallOp::connect), 1u);
  EXPECT_EQ(protocols.count(stack::CallOp::close), 1u);
}

TEST_F(SocketCallsTest, CallsThatDoNotExistEndTheClient) {
  struct Case {
    stack::SocketType type;
    uint16_t what;
    uint32_t length;
  };
  for (const Case& c : {Case{stack::SocketType::tcp, 0, 0}, Case{stack::SocketType::tcp, 3, 0}, Case{stack::SocketType::tcp, 0xffff, 0},
                        Case{stack::SocketType::tcp, abi::kCallConnect, 1}, Case{stack::SocketType::udp, abi::kCallConnect, 0}}) {
    Client& bad = connect_client();
    Socket& s = open(bad, c.type);
    push(shared(bad, s), {~uint64_t{0}, c.length, c.what, abi::kCall});
    ring(s);
    EXPECT_TRUE(bad.channel()->condemned) << c.what << " " << c.length;
  }
}

TEST_F(SocketCallsTest, ARingFullOfCallsIsOneTurnsWork) {
  Socket& s = open(client);
  for (uint32_t i = 0; i < abi::kRingEntries; ++i) post(s, abi::kCallOption, option(i & 1, 6, 1));
  ring(s);
  EXPECT_EQ(protocols.count(stack::CallOp::set_option), uint64_t{abi::kRingEntries});
  EXPECT_EQ(shared(client, s).tx_taken, abi::kRingEntries);
}

}  // namespace
}  // namespace ferry::server

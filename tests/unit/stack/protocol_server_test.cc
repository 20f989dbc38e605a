// A protocol written against the interface of protocol servers and nothing else, in two stacks: every operation is needed, and works.
#include "stack/protocol_server.h"

#include <gtest/gtest.h>

#include "support/courier_server.h"
#include "support/stack_pair.h"

namespace ferry::stack {
namespace {

using support::CourierServer;
using support::kCourier;
using support::StackPair;

class ProtocolServers : public ::testing::Test {
 protected:
  ProtocolServers() {
    for (int side : {0, 1}) EXPECT_TRUE(pair_.stack(side).add_server(servers_[side]));
  }
  SocketId socket(int side, uint16_t port, uint16_t peer) {
    const SocketId s = pair_.open(side, kCourier);
    EXPECT_EQ(pair_.bind(side, s, StackPair::any(port)), Errc::ok);
    EXPECT_EQ(pair_.connect(side, s, StackPair::at(1 - side, peer)), Errc::ok);
    return s;
  }
  CourierServer servers_[2];  // outlive the stacks
  StackPair pair_;
};

TEST_F(ProtocolServers, AreFoundByTypeOnceInstalled) {
  ASSERT_NE(pair_.stack(0).service(kCourier), nullptr);
  EXPECT_STREQ(pair_.stack(0).service(kCourier)->name, "courier");
  EXPECT_EQ(pair_.stack(0).service(kCourier)->style, Style::stream);
  EXPECT_EQ(pair_.stack(0).service(SocketType{10}), nullptr);
  CourierServer second;
  EXPECT_EQ(pair_.stack(0).add_server(second).error(), Errc::address_in_use);
}

TEST_F(ProtocolServers, CarryBytesBothWays) {
  const SocketId a = socket(0, 7, 8), b = socket(1, 8, 7);
  EXPECT_NE(pair_.events_of(0, a) & bit(Event::established), 0u);
  EXPECT_EQ(pair_.send(0, a, "there"), Errc::ok);
  EXPECT_EQ(pair_.send(1, b, "and back"), Errc::ok);
  pair_.run();
  EXPECT_EQ(pair_.receive(1, b), "there");
  EXPECT_EQ(pair_.receive(0, a), "and back");
  EXPECT_EQ(pair_.host(0).total_outstanding(), 0u);
}

TEST_F(ProtocolServers, ReferToOutputUntilItIsAcknowledged) {
  const SocketId a = socket(0, 7, 8), b = socket(1, 8, 7);
  int lost = 0;
  pair_.filter = [&](int side, std::vector<std::byte>&) { return side != 0 || ++lost > 3; };  // ARP's among them
  EXPECT_EQ(pair_.send(0, a, "patience"), Errc::ok);
  pair_.run(Duration::ms(100));
  EXPECT_EQ(pair_.host(0).outstanding(pair_.owner_of(0, a)), 8u);
  pair_.run(Duration::seconds(10));
  EXPECT_EQ(pair_.receive(1, b), "patience");
  EXPECT_EQ(pair_.host(0).outstanding(pair_.owner_of(0, a)), 0u);
  EXPECT_TRUE(pair_.host(0).faults().empty());
}

TEST_F(ProtocolServers, ConcatenateAndTrimDescriptors) {
  const SocketId a = socket(0, 7, 8), b = socket(1, 8, 7);
  std::string all;
  for (uint32_t i = 0; i < CourierServer::kMaxQueue; ++i) {
    const std::string piece(300 + i, static_cast<char>('a' + i));
    EXPECT_EQ(pair_.send(0, a, piece), Errc::ok);
    all += piece;
  }
  EXPECT_EQ(pair_.stack(0).send_space(a), 0u);
  EXPECT_EQ(pair_.send(0, a, "too much"), Errc::again);
  pair_.run(Duration::seconds(2));
  EXPECT_EQ(pair_.receive(1, b), all);
  EXPECT_TRUE(pair_.host(0).faults().empty());
  EXPECT_TRUE(pair_.host(1).faults().empty());
}

TEST_F(ProtocolServers, WaitForARefusedPlace) {
  const SocketId a = socket(0, 7, 8), b = socket(1, 8, 7);
  int refusals = 2;
  pair_.host(1).refuse_place = [&] { return refusals-- > 0; };
  EXPECT_EQ(pair_.send(0, a, "later"), Errc::ok);
  pair_.run(Duration::seconds(2));
  EXPECT_EQ(pair_.receive(1, b), "later");
}

TEST_F(ProtocolServers, HearOfTheirProtocolOnly) {
  const SocketId a = socket(0, 7, 8);
  const uint64_t before = pair_.counter(0, "icmp_errors_in");
  EXPECT_EQ(pair_.send(0, a, "nobody there"), Errc::ok);  // no socket at port 8: protocol unreachable
  pair_.run(Duration::ms(50));
  EXPECT_GT(pair_.counter(0, "icmp_errors_in"), before);
}

TEST_F(ProtocolServers, CloseOnceAndForAll) {
  const SocketId a = socket(0, 7, 8);
  const Owner owner = pair_.owner_of(0, a);
  EXPECT_EQ(pair_.send(0, a, "lost"), Errc::ok);
  EXPECT_EQ(pair_.close(0, a), Errc::ok);
  EXPECT_NE(pair_.events(0, owner) & bit(Event::closed), 0u);
  EXPECT_EQ(pair_.host(0).outstanding(owner), 0u);
  EXPECT_EQ(pair_.send(0, a, "gone"), Errc::bad_socket);
  EXPECT_EQ(pair_.counter(0, "sockets"), 0u);
}

TEST(ProtocolServersOfTcp, TakeThePlaceOfOurs) {
  support::MemoryHost host;
  Config config;
  config.own_tcp = false;
  auto made = Stack::create(config, host);
  ASSERT_TRUE(made);
  EXPECT_EQ((*made)->service(SocketType::tcp), nullptr);
  EXPECT_NE((*made)->service(SocketType::udp), nullptr);
  Call call;
  call.op = CallOp::open;
  call.owner = 1;
  EXPECT_EQ((*made)->call(Instant(), call).error, Errc::not_supported);
  ferry::destroy(*made);
}

}  // namespace
}  // namespace ferry::stack

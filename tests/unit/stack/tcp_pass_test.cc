// Connections of one stack with itself whose owners pass bytes between them: finding the other end, settling, going on afterwards.
#include <gtest/gtest.h>

#include "stack/engine.h"
#include "support/stack_pair.h"

namespace ferry::stack {
namespace {

using support::StackPair;

class TcpPassTest : public testing::Test {
 protected:
  void SetUp() override {
    const SocketId listener = p.listener(0, 80);
    a = p.open(0);
    ASSERT_EQ(p.connect(0, a, StackPair::loopback(80)), Errc::in_progress);
    p.run();
    b = p.accept(0, listener).socket;
    ASSERT_NE(b, 0u);
  }
  Errc settle(SocketId s) {
    Call call;
    call.op = CallOp::settle;
    call.socket = s;
    return p.call(0, call).error;
  }
  Errc pass(SocketId from, int64_t bytes, uint32_t unread = 0) {
    Call call;
    call.op = CallOp::pass;
    call.socket = from;
    call.number = bytes;
    call.flags = unread;
    return p.call(0, call).error;
  }
  Errc consumed(SocketId s, int64_t bytes) {
    Call call;
    call.op = CallOp::consumed;
    call.socket = s;
    call.number = bytes;
    return p.call(0, call).error;
  }
  tcp::TcpInfo tcp_info(SocketId s) { return *p.stack(0).tcp_info(s, p.now()); }
  void exchange() {
    ASSERT_EQ(p.send(0, a, "from a"), Errc::ok);
    ASSERT_EQ(p.send(0, b, "from b"), Errc::ok);
    p.run();
    EXPECT_EQ(p.receive(0, b), "from a");
    EXPECT_EQ(p.receive(0, a), "from b");
    p.run();
    EXPECT_EQ(p.info(0, a).send_queue, 0u);
    EXPECT_EQ(p.info(0, b).send_queue, 0u);
  }

  StackPair p;
  SocketId a = 0, b = 0;
};

TEST_F(TcpPassTest, TheOtherEndIsFoundWhenItIsHere) {
  EXPECT_EQ(*p.stack(0).twin(a), p.owner_of(0, b));
  EXPECT_EQ(*p.stack(0).twin(b), p.owner_of(0, a));
  const SocketId far = p.listener(1, 81);
  const auto c = p.connected(0, far, 81);
  EXPECT_FALSE(p.stack(0).twin(c.client).ok());
  EXPECT_FALSE(p.stack(0).twin(p.open(0)).ok());
  EXPECT_FALSE(p.stack(0).twin(p.open(0, SocketType::udp)).ok());
  EXPECT_EQ(p.stack(0).twin(SocketId{12345}).error(), Errc::bad_socket);
}

TEST_F(TcpPassTest, AConnectionThatWaitsToBeAcceptedHasNone) {
  const SocketId listener = p.listener(0, 82);
  const SocketId c = p.open(0);
  p.connect(0, c, StackPair::loopback(82));
  p.run();
  EXPECT_FALSE(p.stack(0).twin(c).ok());
  const SocketId d = p.accept(0, listener).socket;
  EXPECT_EQ(*p.stack(0).twin(c), p.owner_of(0, d));
}

TEST_F(TcpPassTest, SettlingAcknowledgesAtOnce) {
  for (int i = 0; i < 40; ++i) exchange();  // acknowledgements are delayed by now
  ASSERT_EQ(p.send(0, a, "abc"), Errc::ok);
  Errc outcome = settle(b);
  EXPECT_EQ(p.info(0, a).send_queue, 0u);
  EXPECT_TRUE(outcome == Errc::ok || settle(b) == Errc::ok);
  EXPECT_EQ(p.receive(0, b), "abc");
}

TEST_F(TcpPassTest, AConnectionThatEndsDoesNotSettle) {
  ASSERT_EQ(p.shutdown(0, a, 2), Errc::ok);
  p.run();
  EXPECT_EQ(settle(b), Errc::again);
}

TEST_F(TcpPassTest, GoesOnAfterManyBytes) {
  exchange();
  uint64_t sum = 0;
  for (int64_t bytes : {int64_t{1}, int64_t{65536}, int64_t{3'000'000'000}, int64_t{3'000'000'000}, int64_t{1} << 40}) {
    ASSERT_EQ(settle(a), Errc::ok);
    ASSERT_EQ(pass(a, bytes), Errc::ok);
    ASSERT_EQ(pass(b, bytes / 2), Errc::ok);
    sum += static_cast<uint64_t>(bytes);
    exchange();
  }
  EXPECT_GE(tcp_info(a).bytes_acked, sum);
  EXPECT_GE(tcp_info(b).bytes_received, sum);
  EXPECT_EQ(tcp_info(a).total_retrans, 0u);
  // Much more than a window, by the stack alone.
  for (int i = 0; i < 300; ++i) {
    ASSERT_EQ(p.send(0, a, std::string(10'000, 'x')), Errc::ok);
    p.run();
    ASSERT_EQ(p.receive(0, b).size(), 10'000u);
  }
  ASSERT_EQ(p.shutdown(0, a, 2), Errc::ok);
  p.run();
  EXPECT_NE(p.events_of(0, b) & bit(Event::peer_closed), 0u);
}

TEST_F(TcpPassTest, UnreadBytesCloseTheWindowUntilTheyAreRead) {
  const uint32_t window = tcp_info(b).rcv_wnd;
  ASSERT_EQ(settle(a), Errc::ok);
  ASSERT_EQ(pass(a, 1'000'000, window + 1000), Errc::ok);
  EXPECT_EQ(tcp_info(a).snd_wnd, 0u);
  ASSERT_EQ(p.send(0, a, "behind"), Errc::ok);
  p.run(Duration::ms(1));
  EXPECT_EQ(p.receive(0, b), "");
  EXPECT_EQ(consumed(b, window + 1000), Errc::ok);
  p.run();
  EXPECT_EQ(p.receive(0, b), "behind");
}

TEST_F(TcpPassTest, ClosingWithUnreadBytesResets) {
  ASSERT_EQ(settle(a), Errc::ok);
  ASSERT_EQ(pass(a, 10, 3), Errc::ok);
  p.close(0, b);
  p.run();
  EXPECT_NE(p.events_of(0, a) & bit(Event::failed), 0u);
  EXPECT_EQ(p.info(0, a).error, Errc::reset);
}

TEST_F(TcpPassTest, NonsenseIsRefused) {
  EXPECT_EQ(pass(a, -1), Errc::invalid);
  EXPECT_EQ(pass(a, 3, 4), Errc::invalid);
  const SocketId lonely = p.open(0);
  EXPECT_EQ(pass(lonely, 3), Errc::not_supported);
  EXPECT_EQ(settle(lonely), Errc::not_supported);
}

}  // namespace
}  // namespace ferry::stack

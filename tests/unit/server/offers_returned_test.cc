// Connections that came back from an offer: whoever accepts gets them, whatever has become of them meanwhile.
#include "offers_fixture.h"

namespace ferry::server {
namespace {

class ReturnedTest : public OffersTest {
 protected:
  // Offered to a client that dies, then reset by its peer.
  void SetUp() override {
    dying = &accepting_client(1);
    other = &accepting_client();
    listener = &wait_both(*dying, *other);
    listener->offer_to(*dying->channel());
    child = &arrive(*listener);
    id = child->id();
    run();
    ASSERT_EQ(offered(*dying, *listener), 1u);
    kept.front() = {};
    dying->drop("");
    run();
    run();
    protocols.socket_info.receive_queue = 0;
    before = sockets.size();
    ASSERT_EQ(counters.offers_taken_back, 1u);
    protocols.socket_info.error = Errc::reset;
    child->on_events(static_cast<uint32_t>(tcp::Event::failed) | static_cast<uint32_t>(tcp::Event::closed));
    run();
  }
  size_t count_of_child(stack::CallOp op) const {
    size_t n = 0;
    for (const stack::Call& c : protocols.calls) n += c.op == op && c.socket == id;
    return n;
  }

  Client* dying = nullptr;
  Client* other = nullptr;
  Socket* listener = nullptr;
  Socket* child = nullptr;
  stack::SocketId id = 0;
  size_t before = 0;
};

// As Linux: accept(2) has been promised a connection, and reading tells of the reset.
TEST_F(ReturnedTest, WhatIsResetIsAcceptedAllTheSame) {
  EXPECT_TRUE(shared(*other, *listener).ready & abi::kAcceptable);
  auto next = listener->next_connection(*other->channel(), 0);
  ASSERT_TRUE(next.ok());
  ASSERT_EQ(*next, child);
  child->on_accepted();
  ks.push_back(child->make_pair());
  child->attach(*other->channel());
  run();
  EXPECT_EQ(shared(*other, *child).error, static_cast<uint32_t>(Errc::reset));
  EXPECT_TRUE(shared(*other, *child).ready & abi::kHangUp);
  EXPECT_FALSE(shared(*other, *child).ready & abi::kWritable);
  ks.back().reset();
  run();
  EXPECT_EQ(count_of_child(stack::CallOp::close), 1u);
  EXPECT_EQ(sockets.size(), before - 1);
}

TEST_F(ReturnedTest, WhatIsResetIsOfferedAllTheSame) {
  listener->offer_to(*other->channel());
  run();
  ASSERT_EQ(offered(*other, *listener), 1u);
  claim(*other, *listener);
  EXPECT_EQ(shared(*other, *child).error, static_cast<uint32_t>(Errc::reset));
  atomic_or(shared(*other, *child).wants, uint32_t{abi::kWantGiveBack});
  ring(*child);
  EXPECT_EQ(count_of_child(stack::CallOp::close), 1u);
  EXPECT_EQ(sockets.size(), before - 1);
}

TEST_F(ReturnedTest, WhatIsResetIsFreedWithItsListener) {
  ks[0].reset();
  run();
  run();
  EXPECT_EQ(count_of_child(stack::CallOp::abort), 1u);
  EXPECT_EQ(sockets.size(), before - 1);  // the listener waits to hear that it is closed
}

// While there is one process only nobody minds what it leaves lying.
TEST_F(OffersTest, WhoComesLaterIsToldOfWhatIsLeftLyingToo) {
  Client& idle = accepting_client();
  Client& other = accepting_client();
  Socket& listener = listen_for(idle);
  arrive(listener);
  run();
  ASSERT_EQ(offered(idle, listener), 1u);
  ASSERT_TRUE(ctx.offering.empty());
  listener.attach(*other.channel());
  run();
  ASSERT_FALSE(ctx.offering.empty());
  ctx.now = listener.offer_deadline();
  listener.mark();
  run();
  EXPECT_TRUE(shared(other, listener).ready & abi::kAcceptable);
  EXPECT_TRUE(listener.next_connection(*other.channel(), 0).ok());
}

}  // namespace
}  // namespace ferry::server

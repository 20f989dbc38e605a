// How a connection gets a passage, from the server's side: which one, when, and what is done about one that is full.
#include "passage_fixture.h"

namespace ferry::server {
namespace {

TEST_F(PassageTest, HoldsNoMoreThanItsRingWhateverTheBuffers) {
  protocols.socket_info.send_buffer = protocols.socket_info.receive_buffer = abi::kPassageBytes;
  for (Socket* s : {a, b}) s->refresh_buffers();
  run();
  enter();
  EXPECT_EQ(words(*first, *a).send_buffer, abi::kPassageBytes);
  EXPECT_EQ(words(*first, *a).passage_limit, abi::kPassageBytes);
}

TEST_F(PassageTest, IsOpenedForAConnectionThatLastsAWhile) {
  touch(*a, 5);
  EXPECT_FALSE(a->in_passage());
  enter();
  const abi::SocketShared &wa = words(*first, *a), &wb = words(*second, *b);
  EXPECT_EQ(wa.mode, uint32_t{abi::kModePassing});
  EXPECT_EQ(wb.mode, uint32_t{abi::kModePassing});
  EXPECT_EQ(wa.passage, wb.passage);
  EXPECT_NE(wa.passage_side, wb.passage_side);
  EXPECT_EQ(wa.peer_serial, wb.peer_serial);
  EXPECT_EQ(wa.passage_limit, wa.send_buffer + wb.receive_buffer);
  EXPECT_EQ(wa.tx_lock, 0u);
  EXPECT_EQ(wb.tx_lock, 0u);
  EXPECT_GE(protocols.count(CallOp::settle), 1u);
  EXPECT_EQ(counters.passages_entered, 1u);
  EXPECT_TRUE(ctx.moving.empty());
}

TEST_F(PassageTest, IsNotOpenedForOtherConnections) {
  protocols.twins.clear();
  touch(*a, 100);
  EXPECT_FALSE(a->in_passage());
  protocols.twins[a->id()] = b->owner();
  ctx.limits.peers = 0;
  touch(*a, 1000);
  EXPECT_FALSE(a->in_passage());
}

TEST_F(PassageTest, IsNotOpenedForAClientThatDoesNotKnowHow) {
  Client& old = connect_client();
  Socket& c = open(old);
  protocols.twins[a->id()] = c.owner();
  protocols.twins[c.id()] = a->owner();
  touch(*a, 100);
  EXPECT_FALSE(a->in_passage());
}

TEST_F(PassageTest, WaitsForOutputThatIsUnderWayAndGivesUp) {
  write(*first, *a, "under way");
  ring(*a);
  ASSERT_EQ(protocols.sent, "under way");
  touch(*a, 20);
  EXPECT_FALSE(a->in_passage());
  EXPECT_NE(words(*first, *a).tx_lock & abi::kLockRevoked, 0u);  // being tried
  ctx.now = ctx.now + Duration::ms(6);
  ring(*a);
  EXPECT_EQ(words(*first, *a).tx_lock, 0u);
  EXPECT_EQ(words(*second, *b).tx_lock, 0u);
  EXPECT_EQ(counters.passages_given_up, 1u);
  EXPECT_TRUE(ctx.moving.empty());
  a->on_completed(9);
  touch(*a, 100);
  EXPECT_TRUE(a->in_passage());
}

// A connection that is full has always something under way, unless its writer waits for its reader.
class FullConnection : public PassageTest {
 protected:
  void SetUp() override {
    PassageTest::SetUp();
    protocols.socket_info.send_buffer = 9;
    for (Socket* s : {a, b}) s->refresh_buffers();
    run();
    write(*first, *a, "under way");
    ring(*a);
    receive_more_than_the_ring_holds(*b);
    touch(*a, 20);
    ASSERT_NE(words(*first, *a).tx_lock & abi::kLockRevoked, 0u);
    pass_time(6);
  }
  // What `b` has read is seen.
  void pass_time(int64_t ms) {
    ring(*b);
    ctx.now = ctx.now + Duration::ms(ms);
    ring(*a);
  }
  bool is_drained() { return words(*first, *a).send_buffer == 0; }
};

TEST_F(FullConnection, IsDrainedWhileItsReaderGoesOn) {
  EXPECT_TRUE(is_drained());
  EXPECT_EQ(words(*first, *a).tx_lock, 0u);
  for (int i = 0; i < 10; ++i) {
    words(*second, *b).rx_consumed_bytes += 10;  // of the first piece
    pass_time(30);
    ASSERT_TRUE(is_drained()) << i;
  }
  read(*second, *b);
  a->on_completed(9);
  run();
  ring(*b);
  EXPECT_TRUE(a->in_passage());
  EXPECT_NE(words(*first, *a).send_buffer, 0u);
  EXPECT_EQ(counters.passages_given_up, 0u);
  EXPECT_TRUE(ctx.moving.empty());
}

TEST_F(FullConnection, IsNotDrainedForEver) {
  ASSERT_TRUE(is_drained());
  const Instant began = ctx.now;
  while (is_drained() && ctx.now - began < Duration::seconds(2)) {
    words(*second, *b).rx_consumed_bytes += 1;
    pass_time(10);
  }
  EXPECT_EQ(ctx.now - began, Duration::ms(520));  // up to the first look that comes too late
  EXPECT_EQ(counters.passages_given_up, 1u);
  EXPECT_TRUE(ctx.moving.empty());
}

TEST_F(FullConnection, IsNotDrainedWhenNobodyReads) {
  ASSERT_TRUE(is_drained());
  pass_time(39);
  EXPECT_TRUE(is_drained());
  pass_time(2);
  EXPECT_FALSE(is_drained());
  EXPECT_EQ(counters.passages_given_up, 1u);
}

// The answers to what is not read are not held up.
TEST_F(FullConnection, IsHeldBackInOneDirectionOnly) {
  EXPECT_NE(words(*second, *b).send_buffer, 0u);
  write(*second, *b, "answer");
  ring(*b);
  EXPECT_EQ(protocols.sent, "under wayanswer");
  EXPECT_TRUE(is_drained());
}

TEST_F(FullConnection, TellsAWriterThatWaitedWhenItIsGivenUp) {
  a->on_completed(9);
  abi::SocketShared& s = words(*first, *a);
  s.wants = abi::kWantWrite;
  run();
  EXPECT_NE(s.wants & abi::kWantWrite, 0u);  // still full for all it knows
  const uint32_t seen = s.event_seq;
  pass_time(41);
  run();
  EXPECT_FALSE(is_drained());
  EXPECT_EQ(s.wants & abi::kWantWrite, 0u);
  EXPECT_NE(s.event_seq, seen);
}

// Its wish is seen by nobody when it comes between the server's look for wishes and the words that it waits for.
TEST_F(FullConnection, TellsAWriterWhoseWishCameTooLateToBeSeen) {
  a->on_completed(9);
  run();
  abi::SocketShared& s = words(*first, *a);
  const uint32_t seen = s.event_seq;
  pass_time(41);
  ASSERT_EQ(s.wants & abi::kWantWrite, 0u);
  run();
  EXPECT_FALSE(is_drained());
  EXPECT_NE(s.event_seq, seen);
}

TEST_F(FullConnection, IsDrainedNoMoreWhenOneOfThemEnds) {
  ASSERT_TRUE(is_drained());
  second->drop("");
  EXPECT_EQ(words(*first, *a).tx_lock, 0u);
  run();
  EXPECT_FALSE(is_drained());
  EXPECT_TRUE(ctx.moving.empty());
}

TEST_F(PassageTest, WaitsForTheNextTryFromTheEndOfTheLastOne) {
  write(*first, *a, "under way");
  ring(*a);
  touch(*a, 1000);  // the server looks all the time
  ctx.now = ctx.now + Duration::ms(6);
  ring(*a);
  ASSERT_EQ(counters.passages_given_up, 1u);
  touch(*a, 20);
  EXPECT_EQ(words(*first, *a).tx_lock, 0u);
  touch(*a, 20);
  EXPECT_NE(words(*first, *a).tx_lock, 0u);
}

TEST_F(PassageTest, WaitsForAWriterThatIsInTheRing) {
  words(*second, *b).tx_lock = abi::kLockHeld;
  touch(*a, 20);
  EXPECT_FALSE(a->in_passage());
  write(*second, *b, "the last");
  words(*second, *b).tx_lock = abi::kLockRevoked;  // unlock
  ring(*b);
  EXPECT_EQ(protocols.sent, "the last");
  b->on_completed(8);
  run();
  EXPECT_TRUE(b->in_passage());
}

TEST_F(PassageTest, WhatWasNotReadStaysInTheRing) {
  receive(*b, "before ");
  enter();
  EXPECT_EQ(read(*second, *b), "before ");
  touch(*b, 1);
  EXPECT_TRUE(b->in_passage());
  EXPECT_EQ(protocols.consumed(), 7);
}

// Each end's output is the other's input, also that which leaves only when the passage is made.
TEST_F(PassageTest, WhatCameBeforeItIsInTheRingWhenItOpens) {
  protocols.within = [&](const stack::Call& c) {
    if (c.op != CallOp::send) return;
    Socket &from = c.socket == a->id() ? *a : *b, &to = c.socket == a->id() ? *b : *a;
    receive(to, c.socket == a->id() ? "of a" : "of b");
    from.on_completed(c.data.length);
  };
  touch(*a, 5);
  ASSERT_FALSE(a->in_passage());
  write(*first, *a, "of a");
  write(*second, *b, "of b");
  for (int i = 0; i < 40 && !a->in_passage(); ++i) a->run();  // and not b, which has not rung
  ASSERT_TRUE(a->in_passage());
  EXPECT_EQ(read(*first, *a), "of b");
  EXPECT_EQ(read(*second, *b), "of a");
}

}  // namespace
}  // namespace ferry::server

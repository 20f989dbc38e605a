// Passages from the server's side: what ends one, what becomes of the bytes in it, and clients that lie.
// Not here: how one begins (passage_begin_test.cc), pages that are sent by reference (passage_pages_test.cc).
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "passage_fixture.h"

namespace ferry::server {
namespace {

// A third process has the dead one's connection by then, and its peer stands still.
TEST_F(PassageTest, ANewHomeHasNoPartInThePassageOfTheDeadOne) {
  enter();
  pass(*first, *a, "of the dead");
  Client& third = connect_client();
  words(*second, *b).tx_lock = abi::kLockHeld;
  first->drop("");
  ASSERT_TRUE(a->in_passage());
  const uint32_t slot = a->attach(*third.channel());
  ASSERT_NE(slot, Channel::kNoSlot);
  EXPECT_EQ(third.channel()->shared(slot).mode, uint32_t{abi::kModeShared});
  words(*second, *b).tx_lock = abi::kLockRevoked;
  ring(*b);
  EXPECT_FALSE(b->in_passage());
  EXPECT_EQ(read(*second, *b), "of the dead");
}

// The passage's short wait for its locks is not what the move has for its own.
TEST_F(PassageTest, AMoveBehindItWaitsAsLongAsAnyMove) {
  enter();
  Client& third = connect_client();
  b->attach(*third.channel());
  ask(2);
  abi::SocketShared& old = words(*second, *b);
  old.rx_lock = abi::kLockHeld;
  ASSERT_TRUE(b->start_move(MoveKind::rehome, *third.channel()).ok());
  ctx.now = ctx.now + Duration::ms(30);
  old.rx_lock = abi::kLockRevoked;
  // Its next call begins as soon as it has its locks back.
  protocols.within = [&](const stack::Call& c) {
    if (c.op == CallOp::pass) old.tx_lock = abi::kLockHeld | abi::kLockRevoked;
  };
  ring(*b);
  run();
  EXPECT_FALSE(b->in_passage());
  EXPECT_EQ(counters.forced_moves, 0u);
  old.tx_lock = abi::kLockRevoked;
  ring(*b);
  run();
  EXPECT_EQ(counters.forced_moves, 0u);
  EXPECT_EQ(counters.moves, 1u);
}

TEST_F(PassageTest, SleepersOfOneAreNotCountedInTheNext) {
  enter();
  abi::PassageEnd& e = end(*second, *b);
  const uint32_t passage = words(*second, *b).passage;
  e.waiters = 1;
  e.event_seq = 5;
  ASSERT_TRUE(a->leave_passage());
  EXPECT_EQ(e.event_seq, 6u);  // whoever sleeps there is told
  e.produced = 9;
  e.wants = e.watches[0] = 1;
  touch(*a, 2000);
  ASSERT_TRUE(a->in_passage());
  ASSERT_EQ(words(*second, *b).passage, passage);
  EXPECT_EQ(e.waiters, 1u);    // it counts itself out when it gets round to it
  EXPECT_EQ(e.event_seq, 6u);  // and does not take the next passage's first event for the last one's
  EXPECT_EQ(e.produced, 0u);
  EXPECT_EQ(e.wants, 0u);
  EXPECT_EQ(e.watches[0], 0u);
}

TEST_F(PassageTest, LeavingTellsTheStackAndKeepsWhatWasNotRead) {
  enter();
  pass(*first, *a, "hello world");
  pass(*second, *b, "answer");
  end(*second, *b).consumed = 6;
  end(*first, *a).consumed = 6;
  ASSERT_TRUE(a->leave_passage());
  run();
  EXPECT_EQ(words(*first, *a).mode, uint32_t{abi::kModeShared});
  EXPECT_EQ(words(*second, *b).mode, uint32_t{abi::kModeShared});
  ASSERT_NE(last(CallOp::pass, *a), nullptr);
  EXPECT_EQ(last(CallOp::pass, *a)->number, 11);
  EXPECT_EQ(last(CallOp::pass, *a)->flags, 5u);
  EXPECT_EQ(last(CallOp::pass, *b)->number, 6);
  EXPECT_EQ(last(CallOp::pass, *b)->flags, 0u);
  EXPECT_EQ(read(*second, *b), "world");
  EXPECT_EQ(read(*first, *a), "");
  EXPECT_EQ(counters.copied_in_again, 5u);
  EXPECT_EQ(counters.passed_bytes, 17u);
  EXPECT_EQ(a->passed().out, 11u);
  EXPECT_EQ(a->passed().in, 6u);
  EXPECT_EQ(b->passed().in, 6u);  // the others came by the ring
}

// The program goes on as soon as it has its locks back.
TEST_F(PassageTest, WhatWasNotReadIsInTheRingWhenItsProgramGoesOn) {
  enter();
  pass(*first, *a, "hello world");
  end(*second, *b).consumed = 6;
  ASSERT_TRUE(a->leave_passage());
  ASSERT_EQ(words(*second, *b).rx_lock, 0u);
  EXPECT_EQ(read(*second, *b), "world");
  EXPECT_TRUE(words(*second, *b).ready & abi::kReadable);
  EXPECT_TRUE(second->channel()->peer_region(0)->unused());
}

TEST_F(PassageTest, BytesThatWrapAroundTheRingStayInOrder) {
  enter();
  abi::PassageEnd& out = end(*first, *a);
  out.base = 0;
  out.produced = abi::kPassageBytes - 3;
  end(*second, *b).consumed = abi::kPassageBytes - 3;
  pass(*first, *a, "abcdef");
  ASSERT_TRUE(b->leave_passage());
  run();
  EXPECT_EQ(read(*second, *b), "abcdef");
}

TEST_F(PassageTest, ShutdownInTheRingEndsItBehindWhatWasPassed) {
  enter();
  pass(*first, *a, "data");
  push(words(*first, *a), {first->channel()->output_area().offset, 0, 0, abi::kShutdown});
  size_t before = protocols.calls.size();
  ring(*a);
  EXPECT_FALSE(a->in_passage());
  run();
  bool passed = false, shut = false;
  for (size_t i = before; i < protocols.calls.size(); ++i) {
    passed = passed || (protocols.calls[i].op == CallOp::pass && protocols.calls[i].number == 4);
    if (protocols.calls[i].op == CallOp::shutdown) shut = passed;
  }
  EXPECT_TRUE(shut);
  EXPECT_EQ(read(*second, *b), "data");
}

// shutdown(SHUT_RDWR) is an entry in the ring and a request behind it.
TEST_F(PassageTest, ARequestBehindAShutdownInTheRingEndsItToo) {
  enter();
  pass(*first, *a, "data");
  push(words(*first, *a), {first->channel()->output_area().offset, 0, 0, abi::kShutdown});
  a->catch_up();
  EXPECT_FALSE(a->in_passage());
  run();
  ASSERT_NE(last(CallOp::pass, *a), nullptr);
  ASSERT_NE(last(CallOp::shutdown, *a), nullptr);
  EXPECT_EQ(last(CallOp::pass, *a)->number, 4);
  EXPECT_GT(last(CallOp::shutdown, *a), last(CallOp::pass, *a));
  EXPECT_EQ(read(*second, *b), "data");
}

TEST_F(PassageTest, ARequestWithNothingInTheRingLeavesItAsItIs) {
  enter();
  a->catch_up();
  EXPECT_TRUE(a->in_passage());
}

// While the passage lasts, an entry in the ring keeps its client from sending ahead of it.
TEST_F(PassageTest, ARequestLeavesTheRingAloneUntilThePassageIsLeft) {
  enter();
  pass(*first, *a, "data");
  words(*second, *b).rx_lock = abi::kLockHeld;
  write(*first, *a, "!", abi::kUrgent);
  for (int request = 0; request < 2; ++request) {
    a->catch_up();
    EXPECT_TRUE(a->in_passage());
    EXPECT_NE(words(*first, *a).tx_taken, words(*first, *a).tx_produced);
  }
  words(*second, *b).rx_lock = abi::kLockRevoked;
  ring(*b);
  run();
  EXPECT_FALSE(a->in_passage());
  EXPECT_EQ(words(*first, *a).tx_taken, words(*first, *a).tx_produced);
  ASSERT_NE(last(CallOp::pass, *a), nullptr);
  ASSERT_NE(last(CallOp::send, *a), nullptr);
  EXPECT_GT(last(CallOp::send, *a), last(CallOp::pass, *a));
  EXPECT_EQ(read(*second, *b), "data");
}

TEST_F(PassageTest, LeavingWaitsForAReaderAndNotForEver) {
  enter();
  pass(*first, *a, "abc");
  words(*second, *b).rx_lock = abi::kLockHeld;
  EXPECT_FALSE(a->leave_passage());
  run();
  EXPECT_TRUE(a->in_passage());
  end(*second, *b).consumed = 2;  // it reads on
  words(*second, *b).rx_lock = abi::kLockRevoked;
  ring(*b);
  EXPECT_FALSE(a->in_passage());
  run();
  EXPECT_EQ(read(*second, *b), "c");
  EXPECT_EQ(counters.forced_moves, 0u);

  touch(*a, 2000);
  ASSERT_TRUE(a->in_passage());
  const uint32_t passage = words(*first, *a).passage;
  words(*second, *b).rx_lock = abi::kLockHeld;
  EXPECT_FALSE(a->leave_passage());
  ctx.now = ctx.now + Duration::seconds(2);
  run();
  a->mark();
  run();
  EXPECT_FALSE(a->in_passage());
  EXPECT_EQ(counters.forced_moves, 1u);
  EXPECT_EQ(protocols.count(CallOp::connect), 1u);  // to nobody: what was half read must not be read twice

  Socket& c = open(*first);
  Socket& d = open(*second);
  protocols.twins[c.id()] = d.owner();
  protocols.twins[d.id()] = c.owner();
  touch(c, 40);
  EXPECT_FALSE(c.in_passage());  // who made others wait has no more of them
  second->channel()->allow_peers();
  touch(c, 2000);
  ASSERT_TRUE(c.in_passage());
  EXPECT_NE(words(*first, c).passage, passage);  // somebody may still write there
}

TEST_F(PassageTest, WhoStandsStillKeepsNobodyElseWaiting) {
  enter();
  words(*second, *b).rx_lock = abi::kLockHeld;
  EXPECT_FALSE(a->leave_passage());
  EXPECT_NE(words(*first, *a).rx_lock & abi::kLockRevoked, 0u);
  ctx.now = ctx.now + Duration::ms(20);
  run();
  a->mark();
  run();
  EXPECT_TRUE(a->in_passage());
  EXPECT_EQ(words(*first, *a).rx_lock, 0u);
  EXPECT_EQ(words(*first, *a).tx_lock, 0u);
  EXPECT_NE(words(*second, *b).tx_lock & abi::kLockRevoked, 0u);  // it is not to come back
  pass(*first, *a, "meanwhile");
  words(*first, *a).tx_lock |= abi::kLockHeld;
  words(*second, *b).rx_lock = abi::kLockRevoked;
  ring(*b);
  EXPECT_TRUE(a->in_passage());
  EXPECT_NE(words(*first, *a).tx_lock & abi::kLockRevoked, 0u);  // its turn to let go
  words(*first, *a).tx_lock = abi::kLockRevoked;
  ring(*a);
  EXPECT_FALSE(a->in_passage());
  run();
  EXPECT_EQ(read(*second, *b), "meanwhile");
  EXPECT_EQ(counters.passages_broken, 0u);
}

// The program does away with the connection itself: what becomes of it is for the disconnecting call alone.
TEST_F(PassageTest, TearingItDownWaitsForNobodyAndResetsNothing) {
  enter();
  words(*first, *a).tx_lock = abi::kLockHeld;
  a->tear_passage();
  EXPECT_FALSE(a->in_passage());
  EXPECT_EQ(counters.passages_broken, 0u);
  EXPECT_EQ(protocols.count(CallOp::connect), 0u);
  EXPECT_EQ(a->take_error(), Errc::ok);
}

TEST_F(PassageTest, CloseWithUnreadBytesIsSeenByTheStackBeforeItCloses) {
  enter();
  pass(*first, *a, "never read");
  ks[1].reset();  // b's program closes
  run();
  run();
  ASSERT_NE(last(CallOp::close, *b), nullptr);
  EXPECT_EQ(last(CallOp::pass, *a)->number, 10);
  EXPECT_EQ(last(CallOp::pass, *a)->flags, 10u);
  EXPECT_FALSE(a->in_passage());
  b->on_events(static_cast<uint32_t>(tcp::Event::closed));
  run();
  EXPECT_TRUE(first->channel()->peer_region(0)->unused());
}

TEST_F(PassageTest, AKilledProcessLeavesWhatItWrote) {
  enter();
  pass(*first, *a, "last words");
  words(*first, *a).tx_lock = abi::kLockHeld;  // killed in the middle of a call
  first->drop("");
  run();
  EXPECT_FALSE(b->in_passage());
  EXPECT_EQ(read(*second, *b), "last words");
  EXPECT_EQ(second->channel()->peer_region(0), nullptr);
}

TEST_F(PassageTest, TheRegionOfADeadClientGoesWhenNothingIsUnread) {
  Client& small = connect_client(InputPool::kBlockSize);
  small.channel()->allow_peers();
  Socket& c = open(small);
  receive(c, std::string(200'000, 'y'));
  protocols.twins[a->id()] = c.owner();
  protocols.twins[c.id()] = a->owner();
  touch(*a, 40);
  ASSERT_TRUE(c.in_passage());
  for (int i = 0; i < 100; ++i) pass(*first, *a, std::string(1000, 'x'));
  first->drop("");
  run();
  EXPECT_NE(small.channel()->peer_region(0), nullptr);  // more than is free in the input pool
  EXPECT_EQ(read_in_parts(small, c, 300'000), 300'000u);
  EXPECT_EQ(small.channel()->peer_region(0), nullptr);
}

TEST_F(PassageTest, MovingToAnotherProcessLeavesItFirst) {
  enter();
  pass(*first, *a, "to whoever reads");
  Client& third = connect_client();
  b->attach(*third.channel());
  ask(2);
  ASSERT_TRUE(b->start_move(MoveKind::rehome, *third.channel()).ok());
  run();
  EXPECT_FALSE(a->in_passage());
  EXPECT_EQ(read(third, *b), "to whoever reads");
}

TEST_F(PassageTest, DemotionDrainsIt) {
  enter();
  pass(*first, *a, "by K");
  ASSERT_EQ(::write(ks[1].get(), "stdio", 5), 5);
  run();
  run();
  EXPECT_TRUE(b->kernel_mode());
  char text[16];
  EXPECT_EQ(recv(ks[1].get(), text, sizeof text, MSG_DONTWAIT), 4);
  EXPECT_EQ(protocols.sent, "stdio");
}

TEST_F(PassageTest, ACaptureEndsItAndKeepsItAway) {
  enter();
  peers.suspend(true);
  EXPECT_FALSE(a->in_passage());
  touch(*a, 1000);
  EXPECT_FALSE(a->in_passage());
  peers.suspend(false);
  touch(*a, 1000);
  EXPECT_TRUE(a->in_passage());
}

TEST_F(PassageTest, ImpossiblePositionsResetTheConnection) {
  for (int lie = 0; lie < 4; ++lie) {
    SCOPED_TRACE(lie);
    protocols.calls.clear();
    Socket& c = open(*first);
    Socket& d = open(*second);
    protocols.twins[c.id()] = d.owner();
    protocols.twins[d.id()] = c.owner();
    touch(c, 40);
    ASSERT_TRUE(c.in_passage());
    if (lie == 0) end(*first, c).produced = abi::kPassageBytes + 1;
    if (lie == 1) end(*second, d).consumed = 1;
    if (lie == 2) {
      pass(*first, c, "told");
      end(*second, d).consumed = 4;
      c.tell_passed();
      end(*first, c).produced = end(*second, d).consumed = 3;
    }
    if (lie == 3) end(*first, c).produced = end(*second, d).consumed = uint64_t{1} << 63;  // as a signed number, fewer than none
    atomic_or(words(*second, d).wants, uint32_t{abi::kWantLeave});
    ring(d);
    EXPECT_FALSE(c.in_passage());
    EXPECT_EQ(counters.passages_broken, static_cast<uint64_t>(lie + 1));
    EXPECT_EQ(protocols.count(CallOp::connect), 1u);  // to nobody
    EXPECT_FALSE(first->gone() || second->gone());    // nobody knows who it was
  }
}

TEST_F(PassageTest, TheStackIsToldOfWhatWasReadForItsCounters) {
  enter();
  pass(*first, *a, "0123456789");
  end(*second, *b).consumed = 4;
  a->tell_passed();
  EXPECT_EQ(last(CallOp::pass, *a)->number, 4);
  EXPECT_EQ(last(CallOp::pass, *a)->flags, 0u);
  EXPECT_EQ(b->passed().unread, 6u);
  ASSERT_TRUE(a->leave_passage());
  EXPECT_EQ(last(CallOp::pass, *a)->number, 6);
  EXPECT_EQ(last(CallOp::pass, *a)->flags, 6u);
}

TEST_F(PassageTest, WatchesAreKnownToThePeer) {
  words(*second, *b).watches[0] = 7;
  enter();
  EXPECT_EQ(end(*second, *b).watches[0], 7u);
}

TEST_F(PassageTest, AClientHasTheSameSideInAllPassagesOfARegion) {
  enter();
  Socket& c = open(*first);
  Socket& d = open(*second);
  protocols.twins[c.id()] = d.owner();
  protocols.twins[d.id()] = c.owner();
  touch(d, 40);  // opened from the other end
  ASSERT_TRUE(c.in_passage());
  EXPECT_EQ(words(*first, c).passage_side, words(*first, *a).passage_side);
  EXPECT_EQ(words(*second, d).passage_side, words(*second, *b).passage_side);
  EXPECT_NE(words(*first, c).passage, words(*first, *a).passage);
}

TEST_F(PassageTest, OneProcessMayHaveBothEnds) {
  Socket& c = open(*first);
  Socket& d = open(*first);
  protocols.twins[c.id()] = d.owner();
  protocols.twins[d.id()] = c.owner();
  touch(c, 40);
  ASSERT_TRUE(d.in_passage());
  first->drop("");
  run();
  EXPECT_FALSE(d.in_passage());
  EXPECT_EQ(peers.regions(), 0u);
}

TEST_F(PassageTest, AClientSharesMemoryWithSoManyOthersOnly) {
  ctx.limits.peers = 2;
  std::vector<Socket*> there;
  for (int i = 0; i < 3; ++i) {
    Client& c = connect_client();
    c.channel()->allow_peers();
    Socket& here = open(*first);
    there.push_back(&open(c));
    protocols.twins[here.id()] = there.back()->owner();
    protocols.twins[there.back()->id()] = here.owner();
    touch(here, 40);
  }
  EXPECT_TRUE(there[0]->in_passage());
  EXPECT_TRUE(there[1]->in_passage());
  EXPECT_FALSE(there[2]->in_passage());
  // A region that lies idle makes room.
  ASSERT_TRUE(there[0]->leave_passage());
  ctx.limits.peers = 2;
  touch(*there[2], 2000);
  EXPECT_TRUE(there[2]->in_passage());
}

}  // namespace
}  // namespace ferry::server

// Demotion to kernel mode and moving between processes.
#include <poll.h>
#include <unistd.h>

#include "fixture.h"

namespace ferry::server {
namespace {

class SocketMoveTest : public ServerTest {
 protected:
  // What the program would read from K now.
  std::string read_k(size_t i = 0) {
    char text[4096];
    ssize_t n = recv(ks[i].get(), text, sizeof text, MSG_DONTWAIT);
    return n > 0 ? std::string(text, static_cast<size_t>(n)) : "";
  }
  // As the second client's control connection asks when its program uses K.
  void ask_to_move(Socket& s, Client& second) {
    s.attach(*second.channel());
    ask(1);
    ASSERT_TRUE(s.start_move(MoveKind::rehome, *second.channel()).ok());
  }
  ipc::control::Reply reply(size_t i) {
    ipc::control::Reply r;
    r.op = 0;
    ipc::DescriptorList fds;
    char probe;
    if (recv(connections[i].get(), &probe, 1, MSG_DONTWAIT | MSG_PEEK) > 0) ipc::receive_reply(connections[i].get(), r, fds);
    return r;
  }
};

TEST_F(SocketMoveTest, DemotionDrainsTheRingFirstThenTakesBytesOfK) {
  Client& client = connect_client();
  Socket& s = open(client);
  write(client, s, "first ");
  ASSERT_EQ(::write(ks[0].get(), "second", 6), 6);  // as stdio does, behind libferry's back
  run();
  run();
  EXPECT_TRUE(s.kernel_mode());
  EXPECT_EQ(protocols.sent, "first second");
  EXPECT_EQ(shared(client, s).mode, uint32_t{abi::kModeKernel});
  EXPECT_EQ(counters.kernel_mode_out, 6u);
}

TEST_F(SocketMoveTest, DemotionKeepsUnreadInputInOrder) {
  Client& client = connect_client();
  Socket& s = open(client);
  receive(s, "unread ");
  run();
  shared(client, s).rx_consumed_bytes = 2;  // "un" was read from the ring
  ask(0);
  ASSERT_TRUE(s.start_move(MoveKind::demote, *client.channel()).ok());
  receive(s, "and new");
  run();
  EXPECT_EQ(read_k(), "read and new");
  EXPECT_EQ(client.channel()->input_used(), 0u);
  EXPECT_EQ(memory.staged_bytes(), 0u);
  run();
  EXPECT_EQ(protocols.consumed(), 14);
}

TEST_F(SocketMoveTest, AHeldLockDelaysTheMoveUntilItIsReleased) {
  Client& client = connect_client();
  Socket& s = open(client);
  shared(client, s).tx_lock = abi::kLockHeld;
  ask(0);
  ASSERT_TRUE(s.start_move(MoveKind::demote, *client.channel()).ok());
  run();
  EXPECT_FALSE(s.kernel_mode());
  EXPECT_TRUE(shared(client, s).tx_lock & abi::kLockRevoked);
  write(client, s, "by the holder");
  shared(client, s).tx_lock = abi::kLockRevoked;  // unlock
  ring(s);
  EXPECT_TRUE(s.kernel_mode());
  EXPECT_EQ(protocols.sent, "by the holder");
}

TEST_F(SocketMoveTest, AHolderThatNeverLetsGoIsNotWaitedForForEver) {
  Client& client = connect_client();
  Socket& s = open(client);
  shared(client, s).rx_lock = abi::kLockHeld;
  ask(0);
  ASSERT_TRUE(s.start_move(MoveKind::demote, *client.channel()).ok());
  run();
  EXPECT_FALSE(s.kernel_mode());
  ctx.now = s.move_deadline();
  s.mark();
  run();
  EXPECT_TRUE(s.kernel_mode());
  EXPECT_EQ(counters.forced_moves, 1u);
}

// What it was reading when it was stopped, it may have read when it goes on; the new home would read it once more.
TEST_F(SocketMoveTest, AStreamTakenFromAHolderIsReset) {
  Client& first = connect_client();
  Client& second = connect_client();
  Socket& s = open(first);
  receive(s, "hello");
  run();
  shared(first, s).rx_lock = abi::kLockHeld;
  ASSERT_NO_FATAL_FAILURE(ask_to_move(s, second));
  ctx.now = ctx.now + Duration::ms(1900);
  s.mark();
  run();
  EXPECT_EQ(protocols.count(stack::CallOp::connect), 0u);  // it may just be without a processor
  ctx.now = s.move_deadline();
  s.mark();
  run();
  EXPECT_EQ(shared(second, s).mode, uint32_t{abi::kModeShared});
  EXPECT_EQ(protocols.count(stack::CallOp::connect), 1u);  // to nobody: the other end is reset
  EXPECT_EQ(s.take_error(), Errc::reset);
}

TEST_F(SocketMoveTest, AMoveEndsWhenTheSocketListens) {
  Client& first = connect_client();
  Client& second = connect_client();
  Socket& s = open(first);
  run();
  shared(first, s).rx_lock = abi::kLockHeld;
  ASSERT_NO_FATAL_FAILURE(ask_to_move(s, second));
  ASSERT_NE(shared(first, s).tx_lock, 0u);
  s.on_listening();
  run();
  EXPECT_TRUE(ctx.moving.empty());
  EXPECT_EQ(shared(first, s).tx_lock, 0u);
  EXPECT_EQ(shared(first, s).rx_lock, uint32_t{abi::kLockHeld});
  EXPECT_EQ(shared(first, s).mode, uint32_t{abi::kModeShared});
}

TEST_F(SocketMoveTest, MovingHomeTakesUnreadInputAlong) {
  Client& first = connect_client();
  Client& second = connect_client();
  Socket& s = open(first);
  receive(s, "hello world");
  run();
  shared(first, s).rx_consumed_bytes = 6;
  uint32_t old_slot = s.slot_in(*first.channel());
  s.attach(*second.channel());
  EXPECT_EQ(shared(second, s).mode, uint32_t{abi::kModeMoved});
  ask(1);
  ASSERT_TRUE(s.start_move(MoveKind::rehome, *second.channel()).ok());
  run();
  EXPECT_EQ(first.channel()->shared(old_slot).mode, uint32_t{abi::kModeMoved});
  EXPECT_EQ(shared(second, s).mode, uint32_t{abi::kModeShared});
  EXPECT_EQ(read(second, s), "world");
  EXPECT_EQ(first.channel()->input_used(), 0u);
  ipc::control::Reply r = reply(1);
  EXPECT_EQ(r.error, 0u);
  EXPECT_EQ(r.slot, s.slot_in(*second.channel()));
}

// A program that was told of a move, or attached, or accepted, reads without waiting: what had come before must be there at once.
// It may not have been taken out of the ring that is left.
TEST_F(SocketMoveTest, WhatAnEarlierPeerHasSentIsNotTakenAlong) {
  Client& first = connect_client();
  Client& second = connect_client();
  Socket& s = open(first);
  for (const char* piece : {"old", "older"}) {
    receive(s, piece);
    run();
  }
  shared(first, s).rx_consumed_bytes = 1;
  s.on_peer(false);
  s.on_events(static_cast<uint32_t>(tcp::Event::established));
  receive(s, "new");
  run();
  ASSERT_NO_FATAL_FAILURE(ask_to_move(s, second));
  run();
  EXPECT_EQ(read(second, s), "new");
  EXPECT_EQ(first.channel()->input_used(), 0u);
}

// Nor does the client of a home that was left: its ring is empty, whatever it says.
TEST_F(SocketMoveTest, AListenerThatIsOneNoMoreDoesNotGoBackToAHomeThatWasLeft) {
  Client& first = connect_client();
  Client& second = connect_client();
  Socket& s = open(first);
  receive(s, "unread");
  run();
  ASSERT_NO_FATAL_FAILURE(ask_to_move(s, second));
  run();
  EXPECT_EQ(read(second, s), "unread");
  s.on_peer(false);
  s.on_listening();
  s.on_peer(false);
  shared(first, s).rx_consumed += 1;
  shared(first, s).rx_consumed_bytes += 6;
  s.mark();
  run();
  s.on_events(static_cast<uint32_t>(tcp::Event::established));
  receive(s, "new");
  run();
  EXPECT_EQ(s.slot_in(*second.channel()), reply(1).slot);
  EXPECT_EQ(read(second, s), "new");
}

TEST_F(SocketMoveTest, TheAnswerToAMoveFindsUnreadInputInTheRing) {
  Client& first = connect_client();
  Client& second = connect_client();
  Socket& s = open(first);
  receive(s, "there");
  run();
  ASSERT_NO_FATAL_FAILURE(ask_to_move(s, second));
  EXPECT_EQ(reply(1).slot, s.slot_in(*second.channel()));
  EXPECT_EQ(read(second, s), "there");
  EXPECT_TRUE(shared(second, s).ready & abi::kReadable);
}

TEST_F(SocketMoveTest, WhoGetsASocketWithoutAHomeFindsUnreadInputInTheRing) {
  Client& first = connect_client();
  Client& second = connect_client();
  Socket& s = open(first);
  receive(s, "kept");
  first.drop("");
  run();
  s.attach(*second.channel());
  EXPECT_EQ(read(second, s), "kept");
}

TEST_F(SocketMoveTest, TheAnswerToADemotionFindsUnreadInputInThePair) {
  Client& client = connect_client();
  Socket& s = open(client);
  receive(s, "there");
  run();
  ask(0);
  ASSERT_TRUE(s.start_move(MoveKind::demote, *client.channel()).ok());
  EXPECT_EQ(read_k(), "there");
}

TEST_F(SocketMoveTest, OutputThatIsOutstandingIsCompletedWhereItCameFrom) {
  Client& first = connect_client();
  Client& second = connect_client();
  Socket& s = open(first);
  write(first, s, "from one");
  ring(s);
  uint32_t old_slot = s.slot_in(*first.channel());
  ASSERT_NO_FATAL_FAILURE(ask_to_move(s, second));
  run();
  output_used_ = 0;
  write(second, s, "two");
  ring(s);
  EXPECT_EQ(protocols.sent, "from onetwo");
  s.on_completed(9);
  EXPECT_EQ(first.channel()->shared(old_slot).tx_completed, 8u);
  EXPECT_EQ(shared(second, s).tx_completed, 1u);
}

TEST_F(SocketMoveTest, ComingBackGetsAFreshSlot) {
  Client& first = connect_client();
  Client& second = connect_client();
  Socket& s = open(first);
  write(first, s, "x");
  ring(s);
  uint32_t old_slot = s.slot_in(*first.channel());
  ASSERT_NO_FATAL_FAILURE(ask_to_move(s, second));
  run();
  ask(0);
  ASSERT_TRUE(s.start_move(MoveKind::rehome, *first.channel()).ok());
  run();
  EXPECT_NE(s.slot_in(*first.channel()), old_slot);
  EXPECT_EQ(first.channel()->shared(old_slot).mode, uint32_t{abi::kModeMoved}) << "its output is not completed";
  s.on_completed(1);
  run();
  EXPECT_EQ(first.channel()->shared(old_slot).mode, uint32_t{abi::kModeFree});
}

TEST_F(SocketMoveTest, TwoProcessesThatKeepTakingItFromEachOtherEndInKernelMode) {
  Client& first = connect_client();
  Client& second = connect_client();
  Socket& s = open(first);
  s.attach(*second.channel());
  for (int i = 0; i < 10 && !s.kernel_mode(); ++i) {
    ask((i + 1) % 2);
    ASSERT_TRUE(s.start_move(MoveKind::rehome, *(i % 2 == 0 ? second : first).channel()).ok());
    run();
  }
  EXPECT_TRUE(s.kernel_mode());
  EXPECT_LE(counters.moves, 4u);
}

TEST_F(SocketMoveTest, ADeadHomesUnreadInputGoesToWhoHasTheSocket) {
  Client& parent = connect_client();
  Client& child = connect_client();
  Socket& s = open(parent);
  receive(s, "kept");
  run();
  shared(parent, s).rx_lock = abi::kLockHeld;  // it died holding it
  s.attach(*child.channel());
  parent.drop("");
  run();
  ASSERT_EQ(handler.orphans.size(), 1u);
  EXPECT_FALSE(handler.orphans[0]->unreferenced());
  ask(1);
  ASSERT_TRUE(s.start_move(MoveKind::rehome, *child.channel()).ok());
  run();
  EXPECT_EQ(read(child, s), "kept");
  EXPECT_TRUE(handler.orphans[0]->unreferenced());
}

TEST_F(SocketMoveTest, KernelModeMovesBytesBothWays) {
  Client& client = connect_client();
  Socket& s = sockets.create(stack::SocketType::tcp);
  s.set_id(5);
  ks.push_back(s.make_pair());
  s.start_in_kernel_mode(ks[0].get());
  s.attach(*client.channel());
  run();
  pollfd p{ks[0].get(), POLLOUT, 0};
  EXPECT_EQ(poll(&p, 1, 0), 0) << "not connected, and yet writable";
  s.on_events(static_cast<uint32_t>(tcp::Event::established));
  run();
  EXPECT_EQ(poll(&p, 1, 0), 1);
  ASSERT_EQ(::write(ks[0].get(), "ping", 4), 4);
  receive(s, "pong");
  run();
  EXPECT_EQ(protocols.sent, "ping");
  EXPECT_EQ(read_k(), "pong");
  EXPECT_EQ(counters.kernel_mode_out, 4u);
  EXPECT_EQ(counters.kernel_mode_in, 4u);
  s.on_completed(4);
  EXPECT_EQ(memory.staged_bytes(), 0u);
}

TEST_F(SocketMoveTest, KernelModeTellsTheEndOfTheStreamAfterTheData) {
  Client& client = connect_client();
  Socket& s = open(client);
  ask(0);
  ASSERT_TRUE(s.start_move(MoveKind::demote, *client.channel()).ok());
  receive(s, "last words");
  s.on_events(static_cast<uint32_t>(tcp::Event::peer_closed));
  run();
  EXPECT_EQ(read_k(), "last words");
  char c;
  EXPECT_EQ(recv(ks[0].get(), &c, 1, MSG_DONTWAIT), 0);
}

TEST_F(SocketMoveTest, KernelModeWaitsForTheReaderAndLosesNothing) {
  Client& client = connect_client();
  Socket& s = open(client);
  ask(0);
  ASSERT_TRUE(s.start_move(MoveKind::demote, *client.channel()).ok());
  std::string all, got;
  for (int i = 0; i < 40; ++i) {
    std::string piece(16 * 1024, static_cast<char>('a' + i % 26));
    ASSERT_TRUE(receive(s, piece));
    all += piece;
    run();
  }
  EXPECT_GT(memory.staged_bytes(), 0u) << "more than the pair holds";
  for (int i = 0; i < 2000 && got.size() < all.size(); ++i) {
    got += read_k();
    run();
  }
  EXPECT_TRUE(got == all);
  EXPECT_EQ(memory.staged_bytes(), 0u);
}

TEST_F(SocketMoveTest, AListenerCannotBeDemoted) {
  Client& client = connect_client();
  Socket& s = open(client);
  s.on_listening();
  run();
  EXPECT_EQ(s.start_move(MoveKind::demote, *client.channel()).error(), Errc::not_supported);
}

}  // namespace
}  // namespace ferry::server

// Life of sockets: closing by the last descriptor, death of processes, events.
#include "fixture.h"

namespace ferry::server {
namespace {

constexpr uint32_t bits(tcp::Event e) { return static_cast<uint32_t>(e); }

class SocketTest : public ServerTest {
 protected:
  void close_k(size_t i = 0) {
    ks[i].reset();
    run();
    run();
  }
};

// A client that connects to itself asks for its listener's readiness as soon as it is told that it is connected.
TEST_F(SocketTest, AConnectionThatWaitsIsSeenBeforeTheTurnEnds) {
  Client& client = connect_client();
  Socket& s = open(client);
  s.on_listening();
  run();
  s.announce_acceptable();
  EXPECT_TRUE(shared(client, s).ready & abi::kAcceptable);
}

TEST_F(SocketTest, TheLastCloseOfKClosesAfterWhatWasWritten) {
  Client& client = connect_client();
  Socket& s = open(client);
  write(client, s, "bye");  // no doorbell: the program died right after
  close_k();
  EXPECT_EQ(protocols.sent, "bye");
  EXPECT_EQ(protocols.count(stack::CallOp::close), 1u);
  EXPECT_EQ(protocols.calls.back().op, stack::CallOp::close);
}

TEST_F(SocketTest, ACloseThatIsAnnouncedCountsInTheSameTurn) {
  Client& client = connect_client();
  Socket& s = open(client);
  write(client, s, "bye");
  atomic_or(shared(client, s).wants, uint32_t{abi::kWantClose});
  ks[0].reset();
  s.on_doorbell();
  while (Socket* each = ctx.run.pop_front()) each->run();  // without a look at descriptors
  EXPECT_EQ(protocols.sent, "bye");
  EXPECT_EQ(protocols.count(stack::CallOp::close), 1u);
}

// Who connects may have a slot in front of the listener's, and finds it closed all the same.
TEST_F(SocketTest, AListenersCloseComesBeforeAConnectThatWasMadeLater) {
  Client& client = connect_client();
  Socket& s = open(client);
  Socket& l = open(client);
  l.on_peer(false);
  l.on_listening();
  run();
  UniqueFd another(dup(ks[1].get()));
  const auto close_announced = [&](UniqueFd& k) {
    atomic_or(shared(client, l).wants, uint32_t{abi::kWantClose});
    k.reset();
    s.on_doorbell();
    l.on_doorbell();
  };
  close_announced(another);
  EXPECT_EQ(protocols.count(stack::CallOp::close), 0u);
  EXPECT_EQ(shared(client, l).wants & abi::kWantClose, 0u);
  close_announced(ks[1]);
  EXPECT_EQ(protocols.count(stack::CallOp::close), 1u);  // before anything runs
}

TEST_F(SocketTest, ACloseThatIsAnnouncedAndNotTheLastChangesNothing) {
  Client& client = connect_client();
  Socket& s = open(client);
  UniqueFd another(dup(ks[0].get()));
  atomic_or(shared(client, s).wants, uint32_t{abi::kWantClose});
  ks[0].reset();
  ring(s);
  EXPECT_EQ(shared(client, s).wants & abi::kWantClose, 0u);
  EXPECT_EQ(protocols.count(stack::CallOp::close), 0u);
  EXPECT_TRUE(receive(s, "still here"));
}

TEST_F(SocketTest, TheSlotStaysUntilTheStackRefersToNothing) {
  Client& client = connect_client();
  Socket& s = open(client);
  write(client, s, "bye");
  close_k();
  EXPECT_EQ(client.channel()->socket_count(), 1u);
  uint32_t slot = s.slot_in(*client.channel());
  s.on_completed(3);
  EXPECT_EQ(client.channel()->shared(slot).tx_completed, 3u);
  s.on_events(bits(tcp::Event::closed));
  run();
  EXPECT_EQ(client.channel()->socket_count(), 0u);
  EXPECT_EQ(client.channel()->shared(slot).mode, uint32_t{abi::kModeFree});
  EXPECT_EQ(sockets.size(), 0u);
}

TEST_F(SocketTest, UnreadInputMakesTheCloseImmediate) {
  Client& client = connect_client();
  Socket& s = open(client);
  receive(s, "unread");
  run();
  protocols.space = 0;
  write(client, s, "cannot be sent yet");
  close_k();
  EXPECT_EQ(protocols.count(stack::CallOp::close), 1u);
  EXPECT_EQ(protocols.consumed(), 0) << "the stack must see that data was left";
  EXPECT_EQ(client.channel()->input_used(), 0u);
}

TEST_F(SocketTest, InputThatWasReadWithoutADoorbellIsNotUnread) {
  Client& client = connect_client();
  Socket& s = open(client);
  receive(s, "read");
  run();
  read(client, s);
  close_k();
  EXPECT_EQ(protocols.consumed(), 4);
  ASSERT_EQ(protocols.calls.back().op, stack::CallOp::close);
}

TEST_F(SocketTest, OutputWithoutSendSpaceDelaysTheClose) {
  Client& client = connect_client();
  Socket& s = open(client);
  protocols.space = 0;
  write(client, s, "later");
  close_k();
  EXPECT_EQ(protocols.count(stack::CallOp::close), 0u);
  protocols.space = 100;
  s.on_completed(0);
  run();
  EXPECT_EQ(protocols.sent, "later");
  EXPECT_EQ(protocols.count(stack::CallOp::close), 1u);
}

TEST_F(SocketTest, BytesWrittenToKJustBeforeItWasClosedAreSent) {
  Client& client = connect_client();
  Socket& s = open(client);
  write(client, s, "ring ");
  ASSERT_EQ(::send(ks[0].get(), "pair", 4, 0), 4);
  close_k();
  EXPECT_EQ(protocols.sent, "ring pair");
  EXPECT_EQ(protocols.count(stack::CallOp::close), 1u);
  (void)s;
}

TEST_F(SocketTest, ADeadProcessLeavesNothingBehind) {
  Client& client = connect_client();
  for (int i = 0; i < 20; ++i) {
    Socket& s = open(client);
    receive(s, "unread");
    write(client, s, "x");
    ring(s);
    shared(client, s).tx_lock = abi::kLockHeld;
  }
  client.drop("");
  for (auto& k : ks) k.reset();
  run();
  run();
  EXPECT_EQ(protocols.count(stack::CallOp::close), 20u);
  sockets.for_each([](Socket& s) {
    s.on_completed(1);
    s.on_events(bits(tcp::Event::closed));
  });
  run();
  EXPECT_EQ(sockets.size(), 0u);
  ASSERT_EQ(handler.orphans.size(), 1u);
  EXPECT_TRUE(handler.orphans[0]->unreferenced());
  EXPECT_EQ(memory.staged_bytes(), 0u);
}

TEST_F(SocketTest, MemoryOfADeadClientStaysWhileTheStackRefersToIt) {
  Client& client = connect_client();
  Socket& s = open(client);
  write(client, s, "in flight");
  ring(s);
  stack::Call sent = protocols.calls.back();
  client.drop("");
  ks[0].reset();
  run();
  EXPECT_FALSE(handler.orphans[0]->unreferenced());
  EXPECT_EQ(memory.read(sent.data).size(), 9u);
  s.on_completed(9);
  s.on_events(bits(tcp::Event::closed));
  run();
  EXPECT_TRUE(handler.orphans[0]->unreferenced());
  handler.orphans.clear();
  EXPECT_TRUE(memory.read(sent.data).empty());
}

TEST_F(SocketTest, ASocketThatAnotherProcessHoldsSurvivesTheDeathOfItsHome) {
  Client& client = connect_client();
  Socket& s = open(client);
  client.drop("");
  run();
  EXPECT_EQ(protocols.count(stack::CallOp::close), 0u);
  EXPECT_FALSE(s.finished());
}

TEST_F(SocketTest, EstablishedMakesItWritableAndTellsTheAddresses) {
  Client& client = connect_client();
  Socket& s = sockets.create(stack::SocketType::tcp);
  s.set_id(9);
  ks.push_back(s.make_pair());
  s.attach(*client.channel());
  ASSERT_TRUE(s.begin_connecting());
  run();
  EXPECT_TRUE(shared(client, s).ready & abi::kConnecting);
  EXPECT_FALSE(s.begin_connecting());
  protocols.socket_info.remote.port = 80;
  s.on_events(bits(tcp::Event::established));
  run();
  EXPECT_EQ(shared(client, s).ready & (abi::kConnecting | abi::kConnected | abi::kWritable),
            uint32_t{abi::kConnected | abi::kWritable});
  EXPECT_EQ(shared(client, s).remote_port, 80);
}

TEST_F(SocketTest, FailureSetsTheErrorOnce) {
  Client& client = connect_client();
  Socket& s = open(client);
  protocols.socket_info.error = Errc::timed_out;
  s.on_events(bits(tcp::Event::failed) | bits(tcp::Event::closed));
  run();
  abi::SocketShared& m = shared(client, s);
  EXPECT_EQ(static_cast<Errc>(m.error), Errc::timed_out);
  EXPECT_TRUE(m.ready & abi::kHangUp);
  m.error = 0;  // the client takes it
  s.refresh_buffers();
  run();
  EXPECT_EQ(m.error, 0u);
}

TEST_F(SocketTest, UrgentDataSignalsTheOwnerOfKThroughTheKernel) {
  Client& client = connect_client();
  Socket& s = open(client);
  char byte = 0;
  protocols.socket_info.urgent_mark = 5;
  s.on_events(bits(tcp::Event::urgent));
  run();
  EXPECT_TRUE(shared(client, s).ready & abi::kUrgentPending);
  EXPECT_EQ(shared(client, s).urgent_mark, 5u);
  EXPECT_EQ(recv(ks[0].get(), &byte, 1, MSG_OOB | MSG_DONTWAIT), -1) << "nobody asked for a signal";
  s.set_signals_owner(true);
  protocols.socket_info.urgent_mark = 9;
  s.on_events(bits(tcp::Event::urgent));
  run();
  if (recv(ks[0].get(), &byte, 1, MSG_OOB | MSG_DONTWAIT) < 0 && errno == EOPNOTSUPP)
    GTEST_SKIP() << "this kernel has no out-of-band data on AF_UNIX sockets";
  EXPECT_EQ(byte, '!');
}

TEST_F(SocketTest, AChildThatDiesBeforeAcceptIsForgotten) {
  Socket& s = sockets.create(stack::SocketType::tcp);
  s.set_id(77);
  s.set_pending();
  sockets.add_child(s, 77);
  receive(s, "early");
  s.on_events(bits(tcp::Event::failed) | bits(tcp::Event::closed));
  run();
  EXPECT_EQ(sockets.size(), 0u);
  EXPECT_EQ(sockets.take_child(77), nullptr);
  EXPECT_EQ(memory.staged_bytes(), 0u);
  EXPECT_EQ(protocols.count(stack::CallOp::close), 0u);
}

TEST_F(SocketTest, AListenerShowsHowManyWaitToEveryAttachedProcess) {
  Client& first = connect_client();
  Client& second = connect_client();
  Socket& s = open(first);
  s.on_listening();
  s.attach(*second.channel());
  protocols.socket_info.receive_queue = 2;
  s.on_acceptable();
  run();
  for (Client* c : {&first, &second}) {
    EXPECT_EQ(shared(*c, s).accept_count, 2u);
    EXPECT_EQ(shared(*c, s).mode, uint32_t{abi::kModeShared});
    EXPECT_TRUE(shared(*c, s).ready & abi::kAcceptable);
  }
  protocols.socket_info.receive_queue = 0;
  s.on_acceptable();
  run();
  EXPECT_FALSE(shared(first, s).ready & abi::kAcceptable);
}

TEST_F(SocketTest, ADisconnectedSocketClosesLikeANewOne) {
  Client& client = connect_client();
  Socket& s = sockets.create(stack::SocketType::tcp);
  s.set_id(9);
  ks.push_back(s.make_pair());
  s.attach(*client.channel());
  ASSERT_TRUE(s.begin_connecting());
  protocols.space = 0;
  write(client, s, "to nobody");
  s.on_peer(false);  // connect(AF_UNSPEC)
  run();
  EXPECT_FALSE(shared(client, s).ready & abi::kConnecting);
  close_k();
  EXPECT_EQ(protocols.count(stack::CallOp::close), 1u);
}

TEST_F(SocketTest, AConnectionDoesNotBeginWithTheErrorOfTheOneBefore) {
  Client& client = connect_client();
  Socket& s = open(client);
  s.on_events(bits(tcp::Event::failed) | bits(tcp::Event::closed));
  run();
  EXPECT_NE(shared(client, s).error, 0u);
  s.on_peer(false);
  run();
  EXPECT_NE(shared(client, s).error, 0u);  // it can still be taken, as on Linux
  ASSERT_TRUE(s.begin_connecting());
  s.publish();
  EXPECT_EQ(shared(client, s).error, 0u);
  EXPECT_EQ(shared(client, s).ready & abi::kErrorPending, 0u);
}

TEST_F(SocketTest, ADisconnectedListenerIsAnOrdinarySocketAgain) {
  Client& client = connect_client();
  Socket& s = open(client);
  s.on_listening();
  run();
  s.on_peer(false);
  run();
  EXPECT_FALSE(s.is_listener());
  EXPECT_EQ(shared(client, s).kind, uint32_t{abi::kKindTcp});
  EXPECT_EQ(shared(client, s).mode, uint32_t{abi::kModeShared});
}

TEST_F(SocketTest, SocketsOfOneUserAreBounded) {
  ctx.limits.sockets_per_uid = 1;
  Socket& first = sockets.create(stack::SocketType::udp);
  Socket& second = sockets.create(stack::SocketType::udp);
  EXPECT_TRUE(sockets.charge(first, 1000));
  EXPECT_FALSE(sockets.charge(second, 1000));
  EXPECT_TRUE(sockets.charge(second, 1001));
  first.abandon();
  first.on_events(bits(tcp::Event::closed));
  run();
  Socket& third = sockets.create(stack::SocketType::udp);
  EXPECT_TRUE(sockets.charge(third, 1000));
}

TEST_F(SocketTest, OwnerNumbersAreNotUsedAgain) {
  Socket& s = sockets.create(stack::SocketType::udp);
  stack::Owner old = s.owner();
  s.abandon();
  s.on_events(bits(tcp::Event::closed));
  run();
  EXPECT_EQ(sockets.find(old), nullptr);
  Socket& next = sockets.create(stack::SocketType::udp);
  EXPECT_NE(next.owner(), old);
  EXPECT_EQ(sockets.find(old), nullptr);
}

}  // namespace
}  // namespace ferry::server

// Messages between a client's rings and a protocol server: bounds, what goes along, and both directions waiting for room.
#include "fixture.h"

namespace ferry::server {
namespace {

class SocketMessageTest : public ServerTest {
 protected:
  SocketMessageTest() : client_(connect_client()), socket_(open(client_, stack::SocketType::sctp)) {}

  static std::string message(std::string_view payload, uint32_t length, uint16_t control_type = 0, uint16_t control_length = 0) {
    abi::MessageHeader h{};
    h.payload_length = length;
    h.control_type = control_type;
    h.control_length = control_length;
    h.control[0] = 42;
    std::string text(reinterpret_cast<const char*>(&h), sizeof h);
    return text.append(payload);
  }
  void send(std::string_view payload, uint16_t control_type = 0, uint16_t control_length = 0) {
    write(client_, socket_, message(payload, static_cast<uint32_t>(payload.size()), control_type, control_length));
    ring(socket_);
  }
  Status deliver(std::string_view payload, uint32_t flags = stack::MessageInfo::kEnd) {
    stack::MessageInfo info;
    info.flags = flags;
    info.control_type = 1;
    info.control_length = 4;
    info.control[3] = 7;
    const Status s = socket_.deliver_message(info, ByteSpan(reinterpret_cast<const std::byte*>(payload.data()), payload.size()));
    run();
    return s;
  }

  Client& client_;
  Socket& socket_;
};

TEST_F(SocketMessageTest, IsOfItsOwnKind) {
  EXPECT_EQ(shared(client_, socket_).kind, uint32_t{abi::kKindMessage});
  EXPECT_NE(shared(client_, socket_).ready & abi::kWritable, 0u);
}

TEST_F(SocketMessageTest, OutputGoesByReferenceWithItsControlMessage) {
  send("one", 2, 5);
  send("two");
  EXPECT_EQ(protocols.sent, "onetwo");
  ASSERT_EQ(protocols.messages.size(), 2u);
  EXPECT_EQ(protocols.messages[0].control_type, 2);
  EXPECT_EQ(protocols.messages[0].control_length, 5);
  EXPECT_EQ(protocols.messages[0].control[0], 42);
  EXPECT_EQ(protocols.messages[1].control_length, 0);
  EXPECT_EQ(shared(client_, socket_).tx_completed, 2 * (sizeof(abi::MessageHeader) + 3));
}

TEST_F(SocketMessageTest, AClientsLengthsAreBounded) {
  send("x", 1, 60000);
  ASSERT_EQ(protocols.messages.size(), 1u);
  EXPECT_EQ(protocols.messages[0].control_length, sizeof protocols.messages[0].control);
  write(client_, socket_, "too short for a header");
  ring(socket_);
  write(client_, socket_, message("the descriptor's length counts", 4000000000u));
  ring(socket_);
  EXPECT_EQ(protocols.sent, "xthe descriptor's length counts");
  EXPECT_TRUE(ctx.condemned.empty());
}

TEST_F(SocketMessageTest, WaitsForTheProtocolAndKeepsTheOrder) {
  protocols.send_error = Errc::again;
  for (int i = 0; i < 3; ++i) send(std::to_string(i));
  EXPECT_EQ(protocols.sent, "");
  EXPECT_EQ(shared(client_, socket_).tx_completed, 0u);
  protocols.send_error = Errc::ok;
  socket_.on_events(static_cast<uint32_t>(tcp::Event::writable));
  run();
  EXPECT_EQ(protocols.sent, "012");
}

// More than the ring at once, all of which waited: no doorbell will ring for the rest.
TEST_F(SocketMessageTest, TakesWhatWaitedInTheRingWhenTheBacklogIsGone) {
  protocols.send_error = Errc::again;
  for (uint32_t i = 0; i < abi::kRingEntries; ++i) send("a");
  for (uint32_t i = 0; i < abi::kRingEntries; ++i) send("b");
  protocols.send_error = Errc::ok;
  socket_.on_events(static_cast<uint32_t>(tcp::Event::writable));
  for (int i = 0; i < 4; ++i) run();
  EXPECT_EQ(protocols.sent, std::string(abi::kRingEntries, 'a') + std::string(abi::kRingEntries, 'b'));
}

TEST_F(SocketMessageTest, AnErrorIsTheProgramsToKnow) {
  protocols.send_error = Errc::message_size;
  send("big");
  EXPECT_EQ(shared(client_, socket_).error, static_cast<uint32_t>(Errc::message_size));
  protocols.send_error = Errc::broken_pipe;
  send("late");
  EXPECT_NE(shared(client_, socket_).ready & abi::kWriteClosed, 0u);
}

TEST_F(SocketMessageTest, APieceInSeveralDescriptorsIsOneMessage) {
  const std::string whole = message("in two pieces", 13);
  write(client_, socket_, std::string_view(whole).substr(0, 70), abi::kContinues);
  write(client_, socket_, std::string_view(whole).substr(70));
  ring(socket_);
  EXPECT_EQ(protocols.sent, "in two pieces");
}

TEST_F(SocketMessageTest, ShutdownComesBehindTheMessages) {
  protocols.send_error = Errc::again;
  send("last");
  push(shared(client_, socket_), {client_.channel()->output_area().offset, 0, 0, abi::kShutdown});
  ring(socket_);
  EXPECT_EQ(protocols.count(stack::CallOp::shutdown), 0u);
  protocols.send_error = Errc::ok;
  socket_.on_events(static_cast<uint32_t>(tcp::Event::writable));
  run();
  EXPECT_EQ(protocols.sent, "last");
  EXPECT_EQ(protocols.count(stack::CallOp::shutdown), 1u);
}

TEST_F(SocketMessageTest, InputHasAHeaderInFront) {
  EXPECT_TRUE(deliver("hello", stack::MessageInfo::kEnd | stack::MessageInfo::kNotification));
  const std::string text = read(client_, socket_);
  abi::MessageHeader h;
  ASSERT_EQ(text.size(), sizeof h + 5);
  std::memcpy(&h, text.data(), sizeof h);
  EXPECT_EQ(h.payload_length, 5u);
  EXPECT_EQ(h.flags, uint32_t{abi::kMessageEnd | abi::kMessageNotification});
  EXPECT_EQ(h.control_length, 4);
  EXPECT_EQ(h.control[3], 7);
  EXPECT_EQ(text.substr(sizeof h), "hello");
}

TEST_F(SocketMessageTest, RefusesForNowAndSaysWhenThereIsRoom) {
  const std::string big(60000, 'm');
  int taken = 0;
  while (deliver(big)) ++taken;
  EXPECT_GT(taken, 2);
  EXPECT_LT(taken, 6);
  EXPECT_EQ(protocols.count(stack::CallOp::consumed), 0u);
  read(client_, socket_);
  ring(socket_);
  EXPECT_GT(protocols.count(stack::CallOp::consumed), 0u);
  EXPECT_TRUE(deliver(big));
}

// One socket with many peers.
class SocketWithManyPeersTest : public ServerTest {
 protected:
  SocketWithManyPeersTest() : client_(connect_client()), socket_(open(client_, stack::SocketType::sctp_many)) {}

  void send_to(uint16_t port, std::string_view payload) {
    abi::MessageHeader h{};
    h.remote_address[10] = h.remote_address[11] = 0xff;
    h.remote_address[15] = 9;
    h.remote_port = port;
    h.payload_length = static_cast<uint32_t>(payload.size());
    write(client_, socket_, std::string(reinterpret_cast<const char*>(&h), sizeof h).append(payload));
    ring(socket_);
  }
  uint32_t ready() { return shared(client_, socket_).ready; }

  Client& client_;
  Socket& socket_;
};

TEST_F(SocketWithManyPeersTest, IsReadyFromTheBeginning) {
  EXPECT_EQ(shared(client_, socket_).kind, uint32_t{abi::kKindMessages});
  EXPECT_EQ(ready() & (abi::kWritable | abi::kConnected | abi::kHangUp), uint32_t{abi::kWritable});
}

TEST_F(SocketWithManyPeersTest, EveryMessageNamesItsPeer) {
  send_to(7, "one");
  send_to(8, "two");
  ASSERT_EQ(protocols.messages.size(), 2u);
  EXPECT_EQ(protocols.messages[0].remote.port, 7);
  EXPECT_EQ(protocols.messages[1].remote.port, 8);
  EXPECT_EQ(protocols.messages[1].remote.address.octets[15], 9);
}

TEST_F(SocketWithManyPeersTest, SendingBindsIt) {
  protocols.socket_info.local.port = 40001;
  send_to(7, "one");
  EXPECT_EQ(shared(client_, socket_).local_port, 40001);
}

TEST_F(SocketWithManyPeersTest, WhatOnePeerRefusesDoesNotEndIt) {
  for (Errc error : {Errc::broken_pipe, Errc::invalid, Errc::not_connected}) {
    protocols.send_error = error;
    send_to(7, "x");
    EXPECT_EQ(shared(client_, socket_).error, static_cast<uint32_t>(error));
    EXPECT_EQ(ready() & (abi::kWriteClosed | abi::kWritable), uint32_t{abi::kWritable});
  }
}

TEST_F(SocketWithManyPeersTest, AConnectThatFailsIsToldAndNotTheEnd) {
  protocols.connect_error = Errc::in_progress;
  EXPECT_EQ(socket_.connect({}), Errc::in_progress);
  run();
  EXPECT_NE(ready() & abi::kConnecting, 0u);
  protocols.socket_info.error = Errc::refused;
  socket_.on_events(static_cast<uint32_t>(tcp::Event::failed));
  run();
  EXPECT_EQ(ready() & (abi::kConnecting | abi::kHangUp | abi::kReadClosed | abi::kWritable), uint32_t{abi::kWritable});
  EXPECT_EQ(shared(client_, socket_).error, static_cast<uint32_t>(Errc::refused));
  EXPECT_EQ(socket_.connect({}), Errc::in_progress);
  socket_.on_events(static_cast<uint32_t>(tcp::Event::established));
  run();
  EXPECT_EQ(ready() & (abi::kConnecting | abi::kConnected), uint32_t{abi::kConnected});
  EXPECT_EQ(socket_.connect({}), Errc::in_progress);  // another peer
}

// The end of one connection is not the end of the input, behind which it would have to wait.
TEST_F(SocketWithManyPeersTest, AConnectThatFailsIsToldBesideInput) {
  protocols.connect_error = Errc::in_progress;
  protocols.socket_info.error = Errc::refused;
  EXPECT_EQ(socket_.connect({}), Errc::in_progress);
  EXPECT_TRUE(socket_.deliver_message({}, {}).ok());
  socket_.on_events(static_cast<uint32_t>(tcp::Event::failed));
  socket_.publish();
  EXPECT_EQ(ready() & abi::kConnecting, 0u);
  EXPECT_EQ(shared(client_, socket_).error, static_cast<uint32_t>(Errc::refused));
}

TEST_F(SocketWithManyPeersTest, TellsTheProtocolWhatWasRead) {
  const std::string big(60000, 'm');
  stack::MessageInfo info;
  while (socket_.deliver_message(info, ByteSpan(reinterpret_cast<const std::byte*>(big.data()), big.size()))) run();
  read(client_, socket_);
  ring(socket_);
  EXPECT_GT(protocols.consumed(), 0);
}

TEST_F(SocketWithManyPeersTest, ClosesBehindTheMessagesThatWait) {
  protocols.send_error = Errc::again;
  send_to(7, "last");
  ks.clear();
  run();
  EXPECT_EQ(protocols.count(stack::CallOp::close), 0u);
  protocols.send_error = Errc::ok;
  socket_.on_events(static_cast<uint32_t>(tcp::Event::writable));
  run();
  EXPECT_EQ(protocols.sent, "last");
  EXPECT_EQ(protocols.count(stack::CallOp::close), 1u);
}

}  // namespace
}  // namespace ferry::server

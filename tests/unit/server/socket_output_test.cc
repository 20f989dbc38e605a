// What clients write into output rings: checks, order, completion.
#include "fixture.h"

namespace ferry::server {
namespace {

class SocketOutputTest : public ServerTest {};

TEST_F(SocketOutputTest, DescriptorsGoToTheStackByReferenceAndInOrder) {
  Client& client = connect_client();
  Socket& s = open(client);
  write(client, s, "hello ");
  write(client, s, "world");
  ring(s);
  EXPECT_EQ(protocols.sent, "hello world");
  EXPECT_EQ(shared(client, s).tx_taken, 2u);
  EXPECT_EQ(counters.forwarded_out, 11u);
  EXPECT_EQ(counters.copied_out_staged, 0u);
}

TEST_F(SocketOutputTest, PiecesThatWaitBehindMakeTheFirstOnesUnpushed) {
  Client& client = connect_client();
  Socket& s = open(client);
  write(client, s, "a");
  write(client, s, "b");
  ring(s);
  ASSERT_EQ(protocols.count(stack::CallOp::send), 2u);
  EXPECT_EQ(protocols.calls[0].flags & stack::kSendMore, uint32_t{stack::kSendMore});
  EXPECT_EQ(protocols.calls[1].flags & stack::kSendMore, 0u);
}

TEST_F(SocketOutputTest, CompletionIsToldInBytes) {
  Client& client = connect_client();
  Socket& s = open(client);
  write(client, s, "hello world");
  ring(s);
  EXPECT_EQ(shared(client, s).tx_completed, 0u);
  s.on_completed(4);
  EXPECT_EQ(shared(client, s).tx_completed, 4u);
  s.on_completed(7);
  EXPECT_EQ(shared(client, s).tx_completed, 11u);
}

// The peer is a socket of the same stack and acknowledges at once.
TEST_F(SocketOutputTest, CompletionWithinTheCallThatSendsCounts) {
  Client& client = connect_client();
  Socket& s = open(client);
  protocols.within = [&s](const stack::Call& c) {
    if (c.op == stack::CallOp::send) s.on_completed(c.data.length);
  };
  write(client, s, "hello");
  ring(s);
  EXPECT_EQ(shared(client, s).tx_completed, 5u);
}

TEST_F(SocketOutputTest, CompletionOfMoreThanWasSentIsIgnored) {
  Client& client = connect_client();
  Socket& s = open(client);
  write(client, s, "abc");
  ring(s);
  s.on_completed(1000);
  EXPECT_EQ(shared(client, s).tx_completed, 3u);
}

TEST_F(SocketOutputTest, WaitsForSendSpaceAndGoesOn) {
  Client& client = connect_client();
  Socket& s = open(client);
  protocols.space = 0;
  write(client, s, "later");
  ring(s);
  EXPECT_EQ(protocols.sent, "");
  protocols.space = 100;
  s.on_completed(0);
  run();
  EXPECT_EQ(protocols.sent, "later");
}

TEST_F(SocketOutputTest, DescriptorOutsideTheOutputPoolCondemns) {
  Client& client = connect_client();
  const ipc::PoolArea& area = client.channel()->output_area();
  const abi::Descriptor bad[] = {
      {0, 10, 0, 0},                                    // the header
      {area.offset - 1, 10, 0, 0},                      // begins before
      {area.offset + area.size - 5, 10, 0, 0},          // ends behind: in the input pool
      {UINT64_MAX - 5, 10, 0, 0},                       // wraps
      {area.offset, 10, 1, 0},                          // a region that does not exist
  };
  for (const abi::Descriptor& d : bad) {
    client.channel()->condemned = false;
    ctx.condemned.clear();
    Socket& s = open(client);
    push(shared(client, s), d);
    ring(s);
    EXPECT_EQ(ctx.condemned.size(), 1u) << d.offset;
    EXPECT_EQ(protocols.count(stack::CallOp::send), 0u) << d.offset;
  }
  EXPECT_EQ(counters.protocol_violations, 5u);
}

TEST_F(SocketOutputTest, ImpossibleProducerIndexCondemns) {
  Client& client = connect_client();
  Socket& s = open(client);
  shared(client, s).tx_produced = abi::kRingEntries + 1;
  ring(s);
  EXPECT_EQ(ctx.condemned.size(), 1u);
  EXPECT_EQ(protocols.count(stack::CallOp::send), 0u);
}

TEST_F(SocketOutputTest, ADescriptorThatChangesAfterItWasTakenIsNotReadAgain) {
  Client& client = connect_client();
  Socket& s = open(client);
  protocols.space = 0;  // stays here
  write(client, s, "good");
  ring(s);
  shared(client, s).tx[0] = {0, 4096, 0, 0};
  protocols.space = 100;
  s.mark();
  run();
  EXPECT_EQ(protocols.sent, "good");
}

TEST_F(SocketOutputTest, ServersIndicesInSharedMemoryAreNotReadBack) {
  Client& client = connect_client();
  Socket& s = open(client);
  write(client, s, "one");
  ring(s);
  shared(client, s).tx_taken = 0;  // a lie
  shared(client, s).tx_completed = 1 << 30;
  write(client, s, "two");
  ring(s);
  s.on_completed(3);
  EXPECT_EQ(protocols.sent, "onetwo");
  EXPECT_EQ(shared(client, s).tx_completed, 3u);
}

TEST_F(SocketOutputTest, ShutdownFollowsTheDataBeforeIt) {
  Client& client = connect_client();
  Socket& s = open(client);
  write(client, s, "bye");
  push(shared(client, s), {client.channel()->output_area().offset, 0, 0, abi::kShutdown});
  ring(s);
  ASSERT_GE(protocols.calls.size(), 2u);
  EXPECT_EQ(protocols.calls[0].op, stack::CallOp::send);
  EXPECT_EQ(protocols.calls[1].op, stack::CallOp::shutdown);
  EXPECT_EQ(protocols.calls[1].number, 2);
  EXPECT_TRUE(shared(client, s).ready & abi::kWriteClosed);
}

TEST_F(SocketOutputTest, OutputOfADeadConnectionIsGivenBackInOrder) {
  Client& client = connect_client();
  Socket& s = open(client);
  write(client, s, "sent");
  ring(s);
  protocols.send_error = Errc::broken_pipe;
  write(client, s, "refused");
  ring(s);
  EXPECT_EQ(shared(client, s).tx_completed, 0u);  // what the stack still has comes first
  s.on_completed(4);
  run();
  EXPECT_EQ(shared(client, s).tx_completed, 11u);
}

TEST_F(SocketOutputTest, AWaitingWriterIsWokenWhenThereIsRoomWorthIt) {
  Client& client = connect_client();
  Socket& s = open(client);
  protocols.socket_info.send_buffer = 300;
  s.refresh_buffers();
  run();
  abi::SocketShared& m = shared(client, s);
  write(client, s, std::string(290, 'x'));
  m.wants = abi::kWantWrite;
  uint32_t seq = m.event_seq;
  ring(s);
  EXPECT_EQ(m.wants, uint32_t{abi::kWantWrite});
  EXPECT_EQ(m.event_seq, seq);
  s.on_completed(20);
  run();
  EXPECT_EQ(m.wants, uint32_t{abi::kWantWrite}) << "270 of 300 bytes are still outstanding";
  s.on_completed(100);
  run();
  EXPECT_EQ(m.wants, 0u);
  EXPECT_NE(m.event_seq, seq);
}

// --- datagrams ---

class DatagramOutputTest : public SocketOutputTest {
 protected:
  std::string datagram(std::string_view payload, uint32_t stated_length) {
    abi::DatagramHeader h{};
    h.remote_port = 53;
    h.payload_length = stated_length;
    std::string text(reinterpret_cast<const char*>(&h), sizeof h);
    return text.append(payload);
  }
};

TEST_F(DatagramOutputTest, PayloadFollowsItsHeaderAndIsCompletedAtOnce) {
  Client& client = connect_client();
  Socket& s = open(client, stack::SocketType::udp);
  write(client, s, datagram("query", 5));
  ring(s);
  ASSERT_EQ(protocols.count(stack::CallOp::send_datagram), 1u);
  EXPECT_EQ(protocols.sent, "query");
  EXPECT_EQ(protocols.calls.back().info.remote.port, 53);
  EXPECT_EQ(shared(client, s).tx_completed, sizeof(abi::DatagramHeader) + 5);
}

TEST_F(DatagramOutputTest, AStatedLengthThatIsNotTheRealOneIsRefused) {
  Client& client = connect_client();
  Socket& s = open(client, stack::SocketType::udp);
  write(client, s, datagram("query", 4096));
  ring(s);
  EXPECT_EQ(protocols.count(stack::CallOp::send_datagram), 0u);
  EXPECT_EQ(static_cast<Errc>(shared(client, s).error), Errc::message_size);
}

TEST_F(DatagramOutputTest, LessThanAHeaderIsDropped) {
  Client& client = connect_client();
  Socket& s = open(client, stack::SocketType::udp);
  write(client, s, "short");
  ring(s);
  EXPECT_EQ(protocols.count(stack::CallOp::send_datagram), 0u);
  EXPECT_EQ(shared(client, s).tx_completed, 5u);
}

TEST_F(DatagramOutputTest, PiecesBecomeOneDatagram) {
  Client& client = connect_client();
  Socket& s = open(client, stack::SocketType::udp);
  write(client, s, datagram("que", 5), abi::kContinues);
  write(client, s, "ry");
  ring(s);
  ASSERT_EQ(protocols.count(stack::CallOp::send_datagram), 1u);
  EXPECT_EQ(protocols.sent, "query");
  EXPECT_EQ(memory.staged_bytes(), 0u);
}

TEST_F(DatagramOutputTest, EndlessPiecesDoNotGrowWithoutBound) {
  Client& client = connect_client();
  Socket& s = open(client, stack::SocketType::udp);
  uint64_t at = put_bytes(client, std::string(60000, 'x'));
  for (int i = 0; i < 20; ++i) {
    push(shared(client, s), {at, 60000, 0, abi::kContinues});
    ring(s);
  }
  push(shared(client, s), {at, 10, 0, 0});
  ring(s);
  EXPECT_EQ(protocols.count(stack::CallOp::send_datagram), 0u);
  EXPECT_LE(counters.copied_out_staged, 65535u + 64);
}

}  // namespace
}  // namespace ferry::server

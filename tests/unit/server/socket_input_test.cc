// Received payload: the one copy, delivery, what clients say of their reading.
#include "fixture.h"

namespace ferry::server {
namespace {

class SocketInputTest : public ServerTest {};

TEST_F(SocketInputTest, PayloadIsCopiedOnceIntoTheClientsPool) {
  Client& client = connect_client();
  Socket& s = open(client);
  ASSERT_TRUE(receive(s, "hello"));
  run();
  EXPECT_EQ(read(client, s), "hello");
  EXPECT_EQ(counters.copied_in_shared, 5u);
  EXPECT_EQ(counters.copied_in_staged + counters.copied_in_again, 0u);
}

TEST_F(SocketInputTest, WhatArrivesInARowIsOneDescriptor) {
  Client& client = connect_client();
  Socket& s = open(client);
  ASSERT_TRUE(receive(s, "hello "));
  ASSERT_TRUE(receive(s, "world"));
  run();
  EXPECT_EQ(shared(client, s).rx_produced, 1u);
  EXPECT_EQ(read(client, s), "hello world");
}

TEST_F(SocketInputTest, ReadingGivesMemoryBackAndOpensTheWindow) {
  Client& client = connect_client();
  Socket& s = open(client);
  receive(s, "hello");
  run();
  EXPECT_EQ(client.channel()->input_used(), 5u);
  read(client, s);
  ring(s);
  EXPECT_EQ(client.channel()->input_used(), 0u);
  EXPECT_EQ(protocols.consumed(), 5);
}

TEST_F(SocketInputTest, PartOfAnEntryOpensTheWindowButKeepsTheMemory) {
  Client& client = connect_client();
  Socket& s = open(client);
  receive(s, "hello");
  run();
  shared(client, s).rx_consumed_bytes = 2;
  ring(s);
  EXPECT_EQ(protocols.consumed(), 2);
  EXPECT_EQ(client.channel()->input_used(), 5u);
}

TEST_F(SocketInputTest, BytesThatWereNeverDeliveredOpenNoWindow) {
  Client& client = connect_client();
  Socket& s = open(client);
  receive(s, "hello");
  run();
  shared(client, s).rx_consumed_bytes = UINT64_MAX;
  ring(s);
  EXPECT_EQ(protocols.consumed(), 5);
  shared(client, s).rx_consumed_bytes = 0;  // going back does not close it
  ring(s);
  EXPECT_EQ(protocols.consumed(), 5);
}

TEST_F(SocketInputTest, EntriesThatWereNeverDeliveredCondemn) {
  Client& client = connect_client();
  Socket& s = open(client);
  receive(s, "hello");
  run();
  shared(client, s).rx_consumed = 2;
  ring(s);
  EXPECT_EQ(ctx.condemned.size(), 1u);
  EXPECT_EQ(client.channel()->input_used(), 5u);
}

TEST_F(SocketInputTest, WhatTheClientWritesIntoTheInputRingIsNotBelieved) {
  Client& client = connect_client();
  Socket& s = open(client);
  receive(s, "hello");
  run();
  shared(client, s).rx[0] = {0, 1 << 20, 0, 0};
  shared(client, s).rx_produced = 0;
  shared(client, s).rx_consumed = 1;
  ring(s);
  EXPECT_EQ(client.channel()->input_used(), 0u);
  EXPECT_EQ(protocols.consumed(), 5);
}

TEST_F(SocketInputTest, AFullRingHoldsBackTheRestInOrder) {
  Client& client = connect_client();
  Socket& s = open(client);
  std::string all;
  for (int i = 0; i < 100; ++i) {
    std::string piece(1, static_cast<char>('a' + i % 26));
    auto gap = client.channel()->place(1);  // so that pieces do not adjoin
    ASSERT_TRUE(receive(s, piece));
    all += piece;
    client.channel()->release(*gap);
    run();
  }
  EXPECT_EQ(shared(client, s).rx_produced, abi::kRingEntries);
  std::string got;
  for (int i = 0; i < 10; ++i) {
    got += read(client, s);
    ring(s);
  }
  EXPECT_EQ(got, all);
  EXPECT_EQ(client.channel()->input_used(), 0u);
}

TEST_F(SocketInputTest, AFullPoolRefusesUntilItIsRead) {
  Client& client = connect_client(256 * 1024);
  Socket& s = open(client);
  std::string piece(64 * 1024, 'x');
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(receive(s, piece));
  run();
  EXPECT_FALSE(receive(s, piece));
  EXPECT_EQ(counters.drop_input_pool_full, 1u);
  run();
  read(client, s);  // without a doorbell: found when memory is short
  EXPECT_TRUE(receive(s, piece));
}

TEST_F(SocketInputTest, BeforeAcceptPayloadIsStagedAndThenBroughtHome) {
  Client& client = connect_client();
  Socket& s = sockets.create(stack::SocketType::tcp);
  s.set_id(5);
  s.set_pending();
  ASSERT_TRUE(receive(s, "early"));
  run();
  EXPECT_EQ(memory.staged_bytes(), 5u);
  s.on_accepted();
  ks.push_back(s.make_pair());
  s.attach(*client.channel());
  run();
  EXPECT_EQ(memory.staged_bytes(), 0u);
  EXPECT_EQ(read(client, s), "early");
  EXPECT_EQ(counters.copied_in_again, 5u);
}

TEST_F(SocketInputTest, StagingIsBoundedPerSocket) {
  ctx.limits.staged_per_socket = 10;
  Socket& s = sockets.create(stack::SocketType::tcp);
  s.set_id(5);
  s.set_pending();
  EXPECT_TRUE(receive(s, "0123456789"));
  EXPECT_FALSE(receive(s, "x"));
  EXPECT_EQ(counters.drop_staging_full, 1u);
}

TEST_F(SocketInputTest, ASocketThatFoundNoMemoryIsServedLater) {
  Client& client = connect_client(256 * 1024);
  Socket& hog = open(client);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(receive(hog, std::string(64 * 1024, 'x')));
  run();
  Socket& s = sockets.create(stack::SocketType::tcp);
  s.set_id(5);
  s.set_pending();
  ASSERT_TRUE(receive(s, "staged"));
  s.on_accepted();
  ks.push_back(s.make_pair());
  s.attach(*client.channel());
  run();
  EXPECT_EQ(shared(client, s).rx_produced, 0u);
  ASSERT_FALSE(ctx.starved.empty());
  read(client, hog);
  ring(hog);
  while (Socket* starved = ctx.starved.pop_front()) starved->mark();
  run();
  EXPECT_EQ(read(client, s), "staged");
}

TEST_F(SocketInputTest, DatagramsCarryTheirHeaderAndKeepTheirBounds) {
  Client& client = connect_client();
  Socket& s = open(client, stack::SocketType::udp);
  stack::DatagramInfo info;
  info.remote.port = 53;
  info.remote.address = wire::IpAddress::from(wire::Ipv4Address::of(10, 0, 0, 1));
  auto bytes = [](std::string_view t) { return ByteSpan(reinterpret_cast<const std::byte*>(t.data()), t.size()); };
  ctx.interface_numbers = {7, 4};  // links 0 and 1
  info.link = 1;
  ASSERT_TRUE(s.deliver_datagram(info, bytes("one")).ok());
  ASSERT_TRUE(s.deliver_datagram(info, bytes("")).ok());
  run();
  abi::SocketShared& m = shared(client, s);
  ASSERT_EQ(m.rx_produced, 2u);
  abi::DatagramHeader h;
  std::memcpy(&h, client.channel()->at(m.rx[0].offset), sizeof h);
  EXPECT_EQ(h.payload_length, 3u);
  EXPECT_EQ(h.remote_port, 53);
  EXPECT_EQ(h.interface_index, 4u);
  EXPECT_EQ(m.rx[0].offset % alignof(abi::DatagramHeader), 0u);
  EXPECT_EQ(m.rx[1].length, sizeof h);
}

TEST_F(SocketInputTest, DatagramsBeyondTheReceiveBufferAreDropped) {
  Client& client = connect_client();
  Socket& s = open(client, stack::SocketType::udp);
  protocols.socket_info.receive_buffer = 150;
  s.refresh_buffers();
  run();
  ByteSpan three(reinterpret_cast<const std::byte*>("one"), 3);
  EXPECT_TRUE(s.deliver_datagram({}, three).ok());
  EXPECT_TRUE(s.deliver_datagram({}, three).ok());
  EXPECT_FALSE(s.deliver_datagram({}, three).ok());
  EXPECT_EQ(counters.drop_receive_buffer_full, 1u);
}

TEST_F(SocketInputTest, UnconnectedDatagramSocketsHearOfIcmpErrorsOnlyIfTheyAsk) {
  Client& client = connect_client();
  Socket& s = open(client, stack::SocketType::udp);
  stack::IcmpError e;
  e.error = Errc::refused;
  s.deliver_icmp_error(e);
  run();
  EXPECT_EQ(shared(client, s).error, 0u);
  s.on_peer(true);
  s.deliver_icmp_error(e);
  run();
  EXPECT_EQ(static_cast<Errc>(shared(client, s).error), Errc::refused);
}

// Its client takes out of the ring what is there, and what it says of that is not for the next connection.
TEST_F(SocketInputTest, WhatAPeerHasSentIsVoidWhenItIsOneNoMore) {
  Client& client = connect_client();
  Socket& s = open(client);
  for (uint32_t i = 0; i < abi::kRingEntries + 2; ++i) {
    receive(s, "old");
    run();
  }
  ASSERT_EQ(shared(client, s).rx_produced, uint32_t{abi::kRingEntries});
  shared(client, s).rx_consumed_bytes = 4;
  s.on_peer(false);
  run();
  EXPECT_EQ(client.channel()->input_used(), abi::kRingEntries * 3u) << "what has not come into the ring is gone";
  EXPECT_EQ(protocols.consumed(), 0);
  read(client, s);
  ring(s);
  EXPECT_EQ(client.channel()->input_used(), 0u);
  EXPECT_EQ(protocols.consumed(), 0);
  EXPECT_TRUE(ctx.condemned.empty());
  s.on_events(static_cast<uint32_t>(tcp::Event::established));
  receive(s, "new");
  run();
  EXPECT_EQ(read(client, s), "new");
  ring(s);
  EXPECT_EQ(protocols.consumed(), 3);
}

TEST_F(SocketInputTest, AClientThatKeepsWhatIsVoidIsToldNothingForIt) {
  Client& client = connect_client();
  Socket& s = open(client);
  receive(s, "old");
  run();
  s.on_peer(false);
  run();
  s.on_events(static_cast<uint32_t>(tcp::Event::established));
  receive(s, "new");
  run();
  shared(client, s).rx_consumed_bytes = 4;
  ring(s);
  EXPECT_EQ(protocols.consumed(), 1);
  shared(client, s).rx_consumed_bytes = UINT64_MAX;
  ring(s);
  EXPECT_EQ(protocols.consumed(), 3);
}

}  // namespace
}  // namespace ferry::server

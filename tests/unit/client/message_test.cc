// Messages of src/client: bounds, pieces, control messages, and the end of a connection.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/atomics.h"
#include "client/iov_cursor.h"
#include "client/socket.h"
#include "fake_server.h"

namespace ferry::client::test {
namespace {

constexpr int kNotificationFlag = 0x8000;  // MSG_NOTIFICATION of linux/sctp.h

class Message : public testing::Test {
 protected:
  void SetUp() override {
    k_ = socket_.open(kind_, false, false, true);
    ASSERT_GE(k_, 0);
  }
  void TearDown() override {
    socket_.close();
    ::close(k_);
    EXPECT_EQ(server_.violations, 0u);
  }
  void connect() {
    server_.with([&] {
      server_.last().ready = abi::kConnected | abi::kWritable;
      store_release(server_.last().shared().ready, server_.last().ready);
    });
  }
  long send(const std::string& data, const MessageControl* control = nullptr, int flags = 0) {
    const iovec v{const_cast<char*>(data.data()), data.size()};
    SendRequest request;
    request.data = {&v, 1};
    request.flags = flags;
    request.control = control;
    return socket_.send(k_, request);
  }
  long receive(size_t size, int flags = 0) {
    got_.assign(size, '?');
    vector_ = {got_.data(), size};
    request_ = {};
    request_.data = {&vector_, 1};
    request_.flags = flags;
    return socket_.receive(k_, request_);
  }
  void deliver(const std::string& payload, uint32_t flags, uint32_t claimed = ~0u) {
    abi::MessageHeader h{};
    h.remote_port = 5000;
    h.flags = flags;
    h.control_type = 1;
    h.control_length = 8;
    h.control[7] = 9;
    h.payload_length = claimed == ~0u ? static_cast<uint32_t>(payload.size()) : claimed;
    server_.deliver(h, payload);
  }

  SocketKind kind_ = abi::kKindMessage;
  FakeServer server_;
  Socket socket_;
  int k_ = -1;
  std::string got_;
  iovec vector_{};
  ReceiveRequest request_;
};

TEST_F(Message, IsAStreamSocketOfSctp) {
  EXPECT_TRUE(socket_.is_stream());
  int value = 0;
  socklen_t length = sizeof value;
  EXPECT_EQ(socket_.get_option(k_, SOL_SOCKET, SO_PROTOCOL, &value, &length), 0);
  EXPECT_EQ(value, IPPROTO_SCTP);
}

TEST_F(Message, NeedsAConnection) {
  EXPECT_EQ(send("x"), -EPIPE);
  EXPECT_EQ(receive(10, MSG_DONTWAIT), -ENOTCONN);
}

TEST_F(Message, GoesOutWithItsControlMessage) {
  connect();
  MessageControl control;
  control.type = 2;
  control.length = 3;
  control.bytes[2] = 77;
  ASSERT_EQ(send("to you", &control), 6);
  std::string all;
  while (all.size() < sizeof(abi::MessageHeader) + 6) {
    std::lock_guard lock(server_.mutex);
    all = server_.last().received;
  }
  abi::MessageHeader h;
  std::memcpy(&h, all.data(), sizeof h);
  EXPECT_EQ(h.payload_length, 6u);
  EXPECT_EQ(h.control_type, 2);
  EXPECT_EQ(h.control_length, 3);
  EXPECT_EQ(h.control[2], 77);
  EXPECT_EQ(all.substr(sizeof h), "to you");
  EXPECT_EQ(send(std::string(200 * 1024, 'x')), -EMSGSIZE);
}

TEST_F(Message, ComesInPiecesUntilItsEnd) {
  connect();
  deliver("0123456789", 0);
  deliver("rest", abi::kMessageEnd);
  EXPECT_EQ(receive(4), 4);
  EXPECT_EQ(got_, "0123");
  EXPECT_EQ(request_.out_flags, 0);
  EXPECT_EQ(socket_.bytes_available(k_), 6);
  EXPECT_EQ(receive(100, MSG_PEEK), 6);
  EXPECT_EQ(receive(100), 6);  // never across the piece
  EXPECT_EQ(request_.out_flags, 0);
  EXPECT_EQ(receive(100), 4);
  EXPECT_EQ(request_.out_flags, MSG_EOR);
  EXPECT_EQ(receive(100, MSG_DONTWAIT), -EAGAIN);
}

TEST_F(Message, TellsWhatGoesAlongToWhoAsked) {
  connect();
  deliver("a", abi::kMessageEnd);
  EXPECT_EQ(receive(10), 1);
  EXPECT_EQ(request_.control.length, 0);
  const uint8_t events[14] = {1};
  ASSERT_EQ(socket_.set_option(k_, IPPROTO_SCTP, 11, events, sizeof events), 0);
  deliver("b", abi::kMessageEnd | abi::kMessageNotification);
  EXPECT_EQ(receive(10), 1);
  EXPECT_EQ(request_.control.type, 1);
  EXPECT_EQ(request_.control.length, 8);
  EXPECT_EQ(request_.control.bytes[7], 9);
  EXPECT_EQ(request_.out_flags, MSG_EOR | kNotificationFlag);
  EXPECT_EQ(request_.source.port, 5000);
}

TEST_F(Message, AServersNonsenseEndsTheChannel) {
  connect();
  deliver("short", abi::kMessageEnd, 4000);
  EXPECT_LT(receive(10, MSG_DONTWAIT), 0);
  EXPECT_EQ(receive(10, MSG_DONTWAIT), -ENETDOWN);
}

class Messages : public Message {
 protected:
  Messages() { kind_ = abi::kKindMessages; }
};

TEST_F(Messages, AreASocketOfSequencedPackets) {
  EXPECT_FALSE(socket_.is_stream());
  EXPECT_TRUE(socket_.is_message());
  int value = 0;
  socklen_t length = sizeof value;
  EXPECT_EQ(socket_.get_option(k_, SOL_SOCKET, SO_TYPE, &value, &length), 0);
  EXPECT_EQ(value, SOCK_SEQPACKET);
  Socket child;
  EXPECT_EQ(socket_.accept(k_, child, true, false, true, nullptr), -EOPNOTSUPP);
  EXPECT_EQ(socket_.shutdown(k_, SHUT_RDWR), 0);
  EXPECT_EQ(socket_.shutdown(k_, 9), -EINVAL);
  Address peer{};
  EXPECT_EQ(socket_.remote_address(k_, peer), -ENOTCONN);
}

TEST_F(Messages, GoToWhomTheyName) {
  EXPECT_EQ(send("to nobody"), -EPIPE);
  MessageControl control;
  control.type = 1;
  control.length = 32;
  EXPECT_EQ(send("to an association", &control), 17);
  const Address to = make_address(0x0a090002, 77);
  const iovec v{const_cast<char*>("to an address"), 13};
  SendRequest request;
  request.data = {&v, 1};
  request.to = &to;
  EXPECT_EQ(socket_.send(k_, request), 13);
}

TEST_F(Messages, AreWaitedForWithoutAConnection) {
  EXPECT_EQ(receive(10, MSG_DONTWAIT), -EAGAIN);
  EXPECT_EQ(socket_.readiness(k_) & (POLLIN | POLLHUP), 0u);
  deliver("hello", abi::kMessageEnd);
  EXPECT_NE(socket_.readiness(k_) & POLLIN, 0u);
  EXPECT_EQ(socket_.bytes_available(k_), 5);
  EXPECT_EQ(receive(10), 5);
  EXPECT_EQ(request_.source.port, 5000);
}

TEST_F(Messages, AnErrorIsToldOnce) {
  server_.with([&] { store_release(server_.last().shared().error, static_cast<uint32_t>(Errc::refused)); });
  EXPECT_EQ(receive(10, MSG_DONTWAIT), -ECONNREFUSED);
  EXPECT_EQ(receive(10, MSG_DONTWAIT), -EAGAIN);
}

// splice(2): what a message finds no room for, or no connection, stays in the pipe.
TEST_F(Message, OfAPipeTakesOnlyWhatGoesOut) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const std::string piece(30000, 'm');
  ASSERT_EQ(write(ends[1], piece.data(), piece.size()), 30000);
  const FileBytes bytes{ends[0], FileBytes::kPipe, 30000};
  SendRequest request;
  request.file = &bytes;
  request.nonblocking = true;
  const auto held = [&] {
    int n = -1;
    EXPECT_EQ(ioctl(ends[0], FIONREAD, &n), 0);
    return n;
  };
  EXPECT_EQ(socket_.send(k_, request), -EPIPE);
  EXPECT_EQ(held(), 30000);
  connect();
  server_.with([&] { server_.last().take = false; });
  long sent = 0;
  int messages = 0;
  while ((sent = socket_.send(k_, request)) > 0) {
    ASSERT_EQ(sent, 30000);
    ASSERT_EQ(held(), 0);
    ASSERT_EQ(write(ends[1], piece.data(), piece.size()), 30000);
    ASSERT_LT(++messages, 1000);
  }
  EXPECT_EQ(sent, -EAGAIN);
  EXPECT_GT(messages, 0);
  EXPECT_EQ(held(), 30000);
  server_.with([&] { server_.last().take = true; });
  close(ends[0]);
  close(ends[1]);
}

// Somebody else has read some of the pipe since it was looked at.
TEST_F(Message, OfAPipeIsAsLongAsWhatIsThere) {
  connect();
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const FileBytes bytes{ends[0], FileBytes::kPipe, 100};
  SendRequest request;
  request.file = &bytes;
  EXPECT_EQ(socket_.send(k_, request), 0);
  ASSERT_EQ(write(ends[1], "seven..", 7), 7);
  EXPECT_EQ(socket_.send(k_, request), 7);
  std::string record;
  while (record.size() < sizeof(abi::MessageHeader) + 7) record = server_.with([&] { return server_.last().received; });
  abi::MessageHeader header;
  std::memcpy(&header, record.data(), sizeof header);
  EXPECT_EQ(header.payload_length, 7u);
  EXPECT_EQ(record.substr(sizeof header), "seven..");
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace ferry::client::test

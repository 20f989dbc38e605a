// Datagrams of src/client: boundaries, addresses, truncation, errors.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>

#include "client/socket.h"
#include "fake_server.h"

namespace ferry::client::test {
namespace {

class Datagram : public testing::Test {
 protected:
  void SetUp() override {
    k_ = socket_.open(abi::kKindUdp, false, false, true);
    ASSERT_GE(k_, 0);
  }
  void TearDown() override {
    socket_.close();
    ::close(k_);
    EXPECT_EQ(server_.violations, 0u);
  }
  long send(const std::string& data, const Address* to, int flags = 0) {
    const iovec v{const_cast<char*>(data.data()), data.size()};
    SendRequest request;
    request.data = {&v, 1};
    request.flags = flags;
    request.to = to;
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
  void deliver(const std::string& payload, uint32_t flags = 0, uint64_t reserved = 0) {
    abi::DatagramHeader h{};
    const Address from = make_address(0x0a090002, 53);
    std::memcpy(h.remote_address, from.ip, 16);
    h.remote_port = from.port;
    h.interface_index = 1;
    h.ttl = 64;
    h.tos = 8;
    h.timestamp_ns = 77;
    h.flags = flags;
    h.reserved = reserved;
    h.payload_length = static_cast<uint32_t>(payload.size());
    server_.deliver(h, payload);
  }
  std::string sent(size_t size) {
    for (;;) {
      std::lock_guard lock(server_.mutex);
      if (server_.last().received.size() >= size) return server_.last().received;
    }
  }

  FakeServer server_;
  Socket socket_;
  int k_ = -1;
  std::string got_;
  iovec vector_{};
  ReceiveRequest request_;
  Address peer_ = make_address(0x0a090002, 53);
};

TEST_F(Datagram, HeaderAndPayloadGoOut) {
  ASSERT_EQ(send("query", &peer_), 5);
  const std::string all = sent(sizeof(abi::DatagramHeader) + 5);
  abi::DatagramHeader h;
  std::memcpy(&h, all.data(), sizeof h);
  EXPECT_EQ(h.remote_port, 53);
  EXPECT_EQ(std::memcmp(h.remote_address, peer_.ip, 16), 0);
  EXPECT_EQ(h.payload_length, 5u);
  EXPECT_EQ(h.flags, 0u);
  EXPECT_EQ(all.substr(sizeof h), "query");
}

TEST_F(Datagram, LinuxsErrors) {
  EXPECT_EQ(send("x", nullptr), -EDESTADDRREQ);
  EXPECT_EQ(send(std::string(65508, 'x'), &peer_), -EMSGSIZE);
  EXPECT_EQ(send("x", &peer_, MSG_OOB), -EOPNOTSUPP);
  const Address nowhere = make_address(0x0a090002, 0);
  EXPECT_EQ(send("x", &nowhere), -EINVAL);
  EXPECT_EQ(receive(10, MSG_DONTWAIT), -EAGAIN);
}

TEST_F(Datagram, LargestAndEmptyOnes) {
  EXPECT_EQ(send(std::string(65507, 'x'), &peer_), 65507);
  EXPECT_EQ(send("", &peer_), 0);
  EXPECT_EQ(sent(65507 + 2 * sizeof(abi::DatagramHeader)).size(), 65507 + 2 * sizeof(abi::DatagramHeader));
  deliver("");
  EXPECT_EQ(receive(10), 0);
  EXPECT_TRUE(request_.has_source);
}

TEST_F(Datagram, HeadersStayAligned) {
  for (size_t n = 1; n < 40; ++n) ASSERT_EQ(send(std::string(n, 'a'), &peer_), static_cast<long>(n));
  server_.with([&] {
    for (uint32_t i = 0; i < abi::kRingEntries; ++i) EXPECT_EQ(server_.last().shared().tx[i].offset % 8, 0u);
  });
}

TEST_F(Datagram, ReceivesWithItsAttributes) {
  deliver("answer");
  EXPECT_EQ(socket_.bytes_available(k_), 6);
  EXPECT_EQ(socket_.readiness(k_), static_cast<uint32_t>(POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLWRBAND));
  EXPECT_EQ(receive(100, MSG_PEEK), 6);
  EXPECT_EQ(receive(100), 6);
  EXPECT_EQ(got_.substr(0, 6), "answer");
  EXPECT_EQ(request_.source.port, 53);
  EXPECT_EQ(ipv4_of(request_.source), 0x0a090002u);
  EXPECT_EQ(request_.ttl, 64);
  EXPECT_EQ(request_.tos, 8);
  EXPECT_EQ(request_.timestamp_ns, 77u);
  EXPECT_EQ(receive(100, MSG_DONTWAIT), -EAGAIN);
}

TEST_F(Datagram, WhatDoesNotFitIsLost) {
  deliver("0123456789");
  deliver("next");
  EXPECT_EQ(receive(4, MSG_TRUNC), 10);
  EXPECT_EQ(got_, "0123");
  EXPECT_EQ(request_.out_flags & MSG_TRUNC, MSG_TRUNC);
  EXPECT_EQ(receive(100), 4);
  EXPECT_EQ(request_.out_flags, 0);
}

TEST_F(Datagram, ErrorsHaveAQueueOfTheirOwn) {
  const int on = 1;
  ASSERT_EQ(socket_.set_option(k_, IPPROTO_IP, IP_RECVERR, &on, sizeof on), 0);
  deliver("", abi::kDatagramError, static_cast<uint64_t>(Errc::refused) | uint64_t{3} << 32 | uint64_t{3} << 40);
  deliver("data");
  EXPECT_NE(socket_.readiness(k_) & POLLERR, 0u);
  EXPECT_EQ(receive(100), 4);
  EXPECT_EQ(receive(100, MSG_ERRQUEUE), 0);
  EXPECT_EQ(request_.out_flags, MSG_ERRQUEUE);
  EXPECT_EQ(request_.queued_error.error, ECONNREFUSED);
  EXPECT_EQ(request_.queued_error.type, 3);
  EXPECT_EQ(request_.queued_error.code, 3);
  EXPECT_EQ(receive(100, MSG_ERRQUEUE), -EAGAIN);
  EXPECT_EQ(socket_.readiness(k_) & POLLERR, 0u);
}

TEST_F(Datagram, PendingErrorIsToldOnce) {
  server_.with([&] { store_release(server_.last().shared().error, static_cast<uint32_t>(Errc::refused)); });
  EXPECT_EQ(receive(10, MSG_DONTWAIT), -ECONNREFUSED);
  EXPECT_EQ(receive(10, MSG_DONTWAIT), -EAGAIN);
}

TEST_F(Datagram, ManyInARowKeepTheirOrder) {
  std::thread network([&] {
    for (int i = 0; i < 500; ++i) deliver(std::to_string(i));
  });
  for (int i = 0; i < 500; ++i) {
    const long n = receive(100);
    ASSERT_GT(n, 0);
    ASSERT_EQ(got_.substr(0, static_cast<size_t>(n)), std::to_string(i));
  }
  network.join();
}

}  // namespace
}  // namespace ferry::client::test

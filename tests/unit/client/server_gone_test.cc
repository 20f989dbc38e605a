// What sockets say once ferryd is gone: connections are over, listeners and datagram sockets tell it once and fall silent.
#include <gtest/gtest.h>
#include <poll.h>

#include "client/socket.h"
#include "fake_server.h"

namespace ferry::client::test {
namespace {

constexpr uint32_t kTold = POLLERR | POLLIN | POLLRDNORM;

class ServerGone : public testing::Test {
 protected:
  // A socket of `kind` whose server has ended since.
  int orphan(SocketKind kind) {
    const int k = socket_.open(kind, false, false, true);
    EXPECT_GE(k, 0);
    EXPECT_EQ(socket_.bind(k, make_address(0, 4000)), 0);
    if (kind == abi::kKindTcp) {
      EXPECT_EQ(socket_.listen(k, 5), 0);
    }
    EXPECT_EQ(socket_.readiness(k) & POLLIN, 0u);
    end_server();
    EXPECT_EQ(socket_.wait(k, POLLIN, 1'000'000'000) & POLLERR, POLLERR);
    return k;
  }
  void end_server() {
    testing::internal::CaptureStderr();
    server_.stop();
    Channel::existing()->check_alive();  // as the lifeline's signal does
    EXPECT_NE(testing::internal::GetCapturedStderr().find("is gone"), std::string::npos);
  }
  long receive(int k, bool nonblocking) {
    char byte = 0;
    const iovec v{&byte, 1};
    ReceiveRequest request;
    request.data = {&v, 1};
    request.nonblocking = nonblocking;
    return socket_.receive(k, request);
  }
  int accept(int k, bool nonblocking) {
    Socket child;
    return socket_.accept(k, child, nonblocking, false, true, nullptr);
  }
  void set_receive_timeout(int k, long microseconds) {
    const timeval t{0, microseconds};
    ASSERT_EQ(socket_.set_option(k, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t), 0);
  }
  FakeServer server_;
  Socket socket_;
};

TEST_F(ServerGone, AListenerTellsOnceAndFallsSilent) {
  const int k = orphan(abi::kKindTcp);
  EXPECT_EQ(socket_.readiness(k), kTold);
  EXPECT_EQ(accept(k, true), -ENETDOWN);
  EXPECT_EQ(socket_.readiness(k), 0u);
  EXPECT_EQ(accept(k, true), -EAGAIN);
  EXPECT_EQ(socket_.wait(k, POLLIN, 10'000'000), 0);
  EXPECT_EQ(socket_.take_error(k), 0);
}

TEST_F(ServerGone, ADatagramSocketTellsOnceAndFallsSilent) {
  const int k = orphan(abi::kKindUdp);
  EXPECT_EQ(socket_.readiness(k), kTold);
  EXPECT_EQ(receive(k, true), -ENETDOWN);
  EXPECT_EQ(socket_.readiness(k), 0u);
  EXPECT_EQ(receive(k, true), -EAGAIN);
}

TEST_F(ServerGone, TheErrorOptionTellsAsWell) {
  const int k = orphan(abi::kKindUdp);
  EXPECT_EQ(socket_.take_error(k), ENETDOWN);
  EXPECT_EQ(socket_.take_error(k), 0);
  EXPECT_EQ(receive(k, true), -EAGAIN);
}

TEST_F(ServerGone, ACallThatBlocksWaitsForItsTimeOut) {
  const int k = orphan(abi::kKindTcp);
  set_receive_timeout(k, 20'000);
  EXPECT_EQ(accept(k, false), -ENETDOWN);
  EXPECT_EQ(accept(k, false), -EAGAIN);
}

TEST_F(ServerGone, AConnectionIsOverForEver) {
  const int k = socket_.open(abi::kKindTcp, false, false, true);
  ASSERT_EQ(socket_.connect(k, make_address(0x0a090002, 80), false), 0);
  end_server();
  EXPECT_EQ(receive(k, false), -ENETDOWN);
  EXPECT_EQ(receive(k, true), -ENETDOWN);
  const uint32_t over = POLLERR | POLLHUP | POLLIN | POLLOUT;
  EXPECT_EQ(socket_.readiness(k) & over, over);
}

}  // namespace
}  // namespace ferry::client::test

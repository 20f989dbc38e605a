// Kept descriptors: the next socket is as new, copies are respected, a child holds none of them.
#include "client/stock.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "client/socket.h"
#include "fake_server.h"

namespace ferry::client::test {
namespace {

class StockTest : public testing::Test {
 protected:
  StockTest() {
    server_.has_stock = true;
    Config config;
    config.path = server_.path();
    config.private_fd_floor = 300;
    config.on_private_fd = [](int, bool added) { kept_now += added ? 1 : -1; };
    Channel::configure(config);
    Channel::renew();
    Channel* channel = nullptr;
    EXPECT_EQ(Channel::current(channel), 0);
    kept_now = 3;
  }
  int open(Socket& s, bool nonblocking = false, bool close_on_exec = true) {
    const int k = s.open(abi::kKindTcp, false, nonblocking, close_on_exec);
    EXPECT_GE(k, 0);
    return k;
  }
  // As close(2) does it. Waits until the server has seen it.
  void close(Socket& s, int k, bool only_copy = true, bool nonblocking = false) {
    const uint32_t before = server_.given_back;
    const auto bell = s.close_bell(k, only_copy, nonblocking);
    const bool kept = (load_relaxed(Channel::existing()->shared(s.slot()).wants) & abi::kWantGiveBack) != 0;
    s.close();
    ::close(k);
    bell.ring();
    while (kept && server_.given_back == before) usleep(100);
  }
  size_t requests(control::Op op) {
    return server_.with([&] {
      size_t n = 0;
      for (const auto& q : server_.requests) n += q.op == static_cast<uint32_t>(op);
      return n;
    });
  }
  static inline int kept_now;  // private descriptors: three of the channel, and what is kept
  FakeServer server_;
  Socket socket_;
};

TEST_F(StockTest, OneSocketAfterTheOtherAsksTheServerOnce) {
  for (int i = 0; i < 20; ++i) close(socket_, open(socket_));
  EXPECT_EQ(requests(control::Op::stock), 1u);
  EXPECT_EQ(requests(control::Op::open_socket), 0u);
  EXPECT_EQ(server_.given_back, 20u);
}

TEST_F(StockTest, BatchesGrow) {
  Socket sockets[20];
  int ks[20];
  for (int i = 0; i < 20; ++i) ks[i] = open(sockets[i]);
  EXPECT_EQ(requests(control::Op::stock), 5u) << "1 + 2 + 4 + 8 + 16";
  for (int i = 0; i < 20; ++i) close(sockets[i], ks[i]);
}

TEST_F(StockTest, FlagsAreAsAskedWhateverTheLastUserDid) {
  for (int i = 0; i < 16; ++i) {
    const int k = open(socket_, (i & 1) != 0, (i & 2) != 0);
    EXPECT_EQ((fcntl(k, F_GETFL) & O_NONBLOCK) != 0, (i & 1) != 0);
    EXPECT_EQ((fcntl(k, F_GETFD) & FD_CLOEXEC) != 0, (i & 2) != 0);
    EXPECT_LT(k, 300);
    bool nonblocking = (i & 1) != 0;
    if ((i & 4) != 0) fcntl(k, F_SETFL, O_RDWR | O_NONBLOCK), nonblocking = true;
    close(socket_, k, true, nonblocking);
  }
}

TEST_F(StockTest, ACopyIsNotKept) {
  close(socket_, open(socket_), false);
  EXPECT_EQ(server_.given_back, 0u);
  const int k = open(socket_);
  Stock::forget_copies();  // a program was started meanwhile
  close(socket_, k);
  EXPECT_EQ(server_.given_back, 0u);
  close(socket_, open(socket_));
  EXPECT_EQ(server_.given_back, 1u);
}

TEST_F(StockTest, ANumberThatIsSomethingElseNowIsNotKept) {
  const int k = open(socket_);
  int other[2];
  ASSERT_EQ(pipe(other), 0);
  dup2(other[0], k);  // unseen
  close(socket_, k);
  EXPECT_EQ(server_.given_back, 0u);
  ::close(other[0]);
  ::close(other[1]);
}

TEST_F(StockTest, AChildHoldsNothingThatIsKept) {
  Socket second;
  const int a = open(socket_), b = open(second);
  close(socket_, a);
  close(second, b);
  const int kept = kept_now;
  EXPECT_GT(kept, 3);
  Stock::before_fork();
  const pid_t child = fork();
  if (child == 0) {
    Stock::after_fork_in_child();
    Channel::after_fork_in_child();
    int open_high = 0;
    for (int fd = 300; fd < 400; ++fd) open_high += fcntl(fd, F_GETFD) >= 0;
    _exit(open_high);
  }
  Stock::after_fork_in_parent();
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(kept_now, kept) << "the parent goes on with what it has";
  close(socket_, open(socket_));
  EXPECT_EQ(requests(control::Op::stock), 2u);
}

TEST_F(StockTest, WhatAForkCopiedIsNotKept) {
  const int k = open(socket_);
  Stock::before_fork();
  Stock::after_fork_in_parent();
  close(socket_, k);
  EXPECT_EQ(server_.given_back, 0u);
}

TEST_F(StockTest, ABareCloneFindsNothingKept) {
  close(socket_, open(socket_));
  EXPECT_EQ(kept_now, 4);
  Stock::before_clone();
  EXPECT_EQ(kept_now, 3);
  close(socket_, open(socket_));  // the spare socket whose K was dropped is passed over
  EXPECT_EQ(requests(control::Op::stock), 2u);
}

TEST_F(StockTest, ANewChannelStartsWithoutTheOldOnes) {
  close(socket_, open(socket_));
  Channel::renew();  // set*id
  const int k = open(socket_);
  EXPECT_EQ(kept_now, 6) << "three of each channel";
  close(socket_, k);
  EXPECT_EQ(kept_now, 7) << "and one that is kept";
}

TEST_F(StockTest, HostileSpareRing) {
  close(socket_, open(socket_));
  abi::SpareRing& ring = Channel::existing()->map().header().spares[0][0];
  server_.with([&] {
    for (abi::Spare& s : ring.entries) s = {0xffffffff, 7, 0xffffffff, 0};
    ring.produced += 5;
  });
  close(socket_, open(socket_));
  server_.with([&] { ring.produced += 0x80000000; });
  close(socket_, open(socket_));
}

TEST_F(StockTest, WithoutNumbersThereIsNoSocketAndNothingIsLost) {
  close(socket_, open(socket_));
  const int kept = kept_now;
  rlimit was{}, few{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &was), 0);
  few = was;
  const int lowest = dup(0);
  few.rlim_cur = static_cast<rlim_t>(lowest);
  ::close(lowest);
  // Numbers below the limit are all taken.
  std::vector<int> fill;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  for (int fd; (fd = dup(0)) >= 0;) fill.push_back(fd);
  EXPECT_EQ(socket_.open(abi::kKindTcp, false, false, true), -EMFILE);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &was), 0);
  for (int fd : fill) ::close(fd);
  EXPECT_EQ(kept_now, kept);
  close(socket_, open(socket_));
}

class OfferTest : public StockTest {
 protected:
  // A listener, and descriptors that are kept: of pairs 1 and 2.
  OfferTest() {
    k_ = open(socket_);
    Socket another;
    const int other = open(another);
    close(another, other);
    EXPECT_EQ(socket_.bind(k_, make_address(0, 80)), 0);
    EXPECT_EQ(socket_.listen(k_, 5), 0);
  }
  ~OfferTest() override { ::close(k_); }
  void offer(uint32_t pair) {
    server_.with([&] { server_.offer_connection(*server_.sockets[0], pair, "early"); });
  }
  int accept(Socket& child) { return socket_.accept(k_, child, true, false, true, &remote_); }
  int k_ = -1;
  Address remote_{};
};

TEST_F(OfferTest, AConnectionThatIsOfferedIsTakenWithoutARequest) {
  Socket child;
  EXPECT_EQ(accept(child), -EAGAIN);
  EXPECT_EQ(socket_.readiness(k_), 0u);
  offer(1);
  EXPECT_EQ(socket_.readiness(k_), static_cast<uint32_t>(POLLIN | POLLRDNORM));
  const int fd = accept(child);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(remote_.port, 1234);
  char text[8];
  iovec v{text, sizeof text};
  ReceiveRequest request;
  request.data = {&v, 1};
  EXPECT_EQ(child.receive(fd, request), 5);
  EXPECT_EQ(socket_.readiness(k_), 0u);
  EXPECT_EQ(accept(child), -EAGAIN);
  EXPECT_EQ(requests(control::Op::accept), 0u);
  ::close(fd);
}

TEST_F(OfferTest, AConnectionThatIsTakenBackIsNotAccepted) {
  Socket child;
  offer(1);
  server_.with([&] {
    abi::SocketShared& l = FakeServer::words_of(*server_.sockets[0]);
    EXPECT_EQ(atomic_exchange(l.rx_consumed, l.rx_produced), 0u);
  });
  EXPECT_EQ(accept(child), -EAGAIN);
  EXPECT_EQ(requests(control::Op::accept), 0u);
  offer(2);
  const int fd = accept(child);
  EXPECT_GE(fd, 0);
  ::close(fd);
}

TEST_F(OfferTest, AConnectionWhoseDescriptorIsNotHereIsAskedFor) {
  Socket child;
  Channel::existing()->drop_stock();
  offer(1);
  EXPECT_EQ(accept(child), -EAGAIN) << "the fake has none";
  EXPECT_GE(requests(control::Op::accept), 1u);
  EXPECT_EQ(Channel::existing()->shared(socket_.slot()).rx_consumed, 0u) << "the server's to take back";
}

TEST_F(StockTest, TheProgramsNumbersGoBeforeWhatIsKept) {
  Socket second;
  const int a = open(socket_), b = open(second);
  close(socket_, a);
  close(second, b);
  EXPECT_EQ(kept_now, 6) << "two, and one more of the second batch";
  rlimit was{}, few{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &was), 0);
  few = was;
  few.rlim_cur = 400;
  std::vector<int> fill;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  for (int fd; (fd = dup(0)) >= 0;) fill.push_back(fd);
  const int k = socket_.open(abi::kKindTcp, false, false, true);
  EXPECT_GE(k, 0);
  EXPECT_EQ(kept_now, 3);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &was), 0);
  for (int fd : fill) ::close(fd);
  close(socket_, k);
}

}  // namespace
}  // namespace ferry::client::test

// Channels, connecting, accepting, moving between processes, kernel mode, the end of a server.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <algorithm>

#include "client/event_queue.h"
#include "connection_fixture.h"

namespace ferry::client::test {
namespace {

TEST(Channels, NoServerIsAnErrorAtOnce) {
  Config config;
  config.path = "/nonexistent/ferryd.sock";
  Channel::configure(config);
  Channel::renew();
  Socket socket;
  EXPECT_EQ(socket.open(abi::kKindTcp, false, false, true), -ENOENT);
}

TEST(Channels, OtherVersionIsRefusedAloud) {
  FakeServer server;
  server.hello_version_error = 1;
  Socket socket;
  testing::internal::CaptureStderr();
  EXPECT_EQ(socket.open(abi::kKindTcp, false, false, true), -EPROTO);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("version"), std::string::npos);
}

TEST(Channels, OwnDescriptorsAreMovedUpAndAnnounced) {
  FakeServer server;
  static std::vector<int> announced;
  announced.clear();
  Config config;
  config.path = server.path();
  config.private_fd_floor = 200;
  config.on_private_fd = [](int fd, bool added) {
    if (added) announced.push_back(fd);
  };
  Channel::configure(config);
  Channel* channel = nullptr;
  ASSERT_EQ(Channel::current(channel), 0);
  EXPECT_EQ(announced.size(), 3u);
  for (int fd : announced) EXPECT_GE(fd, 200);
}

TEST_F(Connection, OutcomesOfConnect) {
  const int k = socket_.open(abi::kKindTcp, false, false, true);
  server_.with([&] { server_.on_connect = [](auto&) { return Errc::net_unreachable; }; });
  EXPECT_EQ(socket_.connect(k, make_address(1, 1), false), -ENETUNREACH);
  server_.with([&] { server_.on_connect = [](auto&) { return Errc::in_progress; }; });
  EXPECT_EQ(socket_.connect(k, make_address(1, 1), true), -EINPROGRESS);
  EXPECT_EQ(socket_.connect(k, make_address(1, 1), true), -EALREADY);
  EXPECT_EQ(socket_.readiness(k), 0u);
  EXPECT_EQ(send(socket_, k, "x", MSG_DONTWAIT), -EAGAIN);
  server_.with([&] { server_.fail(server_.last(), Errc::refused), server_.set_ready(server_.last(), abi::kHangUp | abi::kReadClosed | abi::kWriteClosed); });
  EXPECT_NE(socket_.readiness(k) & POLLERR, 0u);
  EXPECT_EQ(socket_.connect(k, make_address(1, 1), true), -ECONNREFUSED);
  ::close(k);
}

TEST_F(Connection, AConnectIsPostedAndNotAskedFor) {
  server_.with([&] { server_.on_connect = [](auto&) { return Errc::in_progress; }; });
  const int k = socket_.open(abi::kKindTcp, false, false, true);
  server_.with([&] { server_.last().take = false; });  // the server does not come to it
  Channel* channel = Channel::existing();
  EXPECT_FALSE(channel->reaches(0x0a090002)) << "no interface";
  std::thread blocked([&] { EXPECT_EQ(socket_.connect(k, make_address(0x0a090002, 80), false), 0); });
  abi::SocketShared& shared = channel->shared(socket_.slot());
  while (load_acquire(shared.tx_produced) == 0) std::this_thread::yield();
  EXPECT_EQ(socket_.readiness(k), 0u) << "connecting, not hung up as a fresh socket is";
  Address peer{};
  EXPECT_EQ(socket_.remote_address(k, peer), -ENOTCONN);
  EXPECT_EQ(send(socket_, k, "x", MSG_DONTWAIT), -EAGAIN);
  server_.with([&] {
    server_.on_connect = [](auto&) { return Errc::ok; };
    server_.last().take = true;
  });
  blocked.join();
  const int on = 1;
  EXPECT_EQ(socket_.set_option(k, 6 /* IPPROTO_TCP */, 1 /* TCP_NODELAY */, &on, sizeof on), 0);
  EXPECT_EQ(send(socket_, k, "data"), 4);
  for (bool arrived = false; !arrived;) server_.with([&] { arrived = server_.last().received == "data"; });
  server_.with([&] {
    ASSERT_EQ(server_.calls.size(), 2u);
    EXPECT_EQ(server_.calls[1].region, uint16_t{abi::kCallOption});
    EXPECT_EQ(server_.calls[1].offset, uint64_t{1} | uint64_t{6} << 32 | uint64_t{1} << 48);
    for (const auto& q : server_.requests) {
      EXPECT_NE(q.op, static_cast<uint32_t>(control::Op::connect));
      EXPECT_NE(q.op, static_cast<uint32_t>(control::Op::set_option));
    }
  });
  ::close(k);
}

TEST_F(Connection, BlockingConnectWaitsForTheHandshake) {
  server_.with([&] { server_.on_connect = [](auto&) { return Errc::in_progress; }; });
  const int k = socket_.open(abi::kKindTcp, false, false, true);
  std::thread network([&] {
    for (bool done = false; !done;) {
      server_.with([&] {
        FakeSocket& s = server_.last();
        if ((s.ready & abi::kConnecting) != 0) done = true, server_.set_ready(s, abi::kConnected | abi::kWritable);
      });
    }
  });
  EXPECT_EQ(socket_.connect(k, make_address(1, 1), false), 0);
  network.join();
  ::close(k);
}

TEST_F(Connection, AcceptGivesConnectionsWithTheirData) {
  const int k = socket_.open(abi::kKindTcp, false, false, true);
  ASSERT_EQ(socket_.bind(k, make_address(0, 80)), 0);
  ASSERT_EQ(socket_.listen(k, 5), 0);
  EXPECT_TRUE(socket_.is_listener());
  Socket child;
  EXPECT_EQ(socket_.accept(k, child, true, false, true, nullptr), -EAGAIN);
  EXPECT_EQ(socket_.readiness(k), 0u);
  server_.with([&] {
    server_.acceptable.push_back(std::make_unique<FakeSocket>());
    server_.acceptable.back()->pending.push_back("early");
    server_.set_ready(*server_.sockets[0], abi::kAcceptable);
  });
  EXPECT_EQ(socket_.readiness(k), static_cast<uint32_t>(POLLIN | POLLRDNORM));
  Address remote{};
  const int child_k = socket_.accept(k, child, false, true, false, &remote);
  ASSERT_GE(child_k, 0);
  EXPECT_EQ(remote.port, 1234);
  EXPECT_EQ(fcntl(child_k, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  EXPECT_EQ(fcntl(child_k, F_GETFD), 0);
  EXPECT_EQ(receive(child, child_k, 100), "early");
  EXPECT_EQ(socket_.accept(k, child, true, false, true, nullptr), -EAGAIN);
  server_.with([&] {  // an empty queue costs no request
    const auto is_accept = [](const control::Request& q) { return q.op == static_cast<uint32_t>(control::Op::accept); };
    EXPECT_EQ(std::count_if(server_.requests.begin(), server_.requests.end(), is_accept), 1);
  });
  EXPECT_EQ(receive(socket_, k, 1), "error 107");
  ::close(child_k);
  ::close(k);
}

TEST_F(Connection, ShutdownOfAListenerEndsAcceptUntilItListensAgain) {
  const int k = socket_.open(abi::kKindTcp, false, false, true);
  ASSERT_EQ(socket_.bind(k, make_address(0, 80)), 0);
  ASSERT_EQ(socket_.listen(k, 5), 0);
  Socket child;
  EXPECT_EQ(socket_.shutdown(k, SHUT_WR), 0);
  EXPECT_TRUE(socket_.is_listening());
  EXPECT_EQ(socket_.accept(k, child, true, false, true, nullptr), -EAGAIN);
  int outcome = 0;
  std::thread waiting([&] { outcome = socket_.accept(k, child, false, false, true, nullptr); });
  const abi::SocketShared* words = server_.with([&] { return &FakeServer::words_of(*server_.sockets[0]); });
  while (load_acquire(words->waiters) == 0) std::this_thread::yield();
  EXPECT_EQ(socket_.shutdown(k, SHUT_RD), 0);
  waiting.join();
  EXPECT_EQ(outcome, -EINVAL);
  EXPECT_FALSE(socket_.is_listening());
  EXPECT_EQ(socket_.accept(k, child, true, false, true, nullptr), -EINVAL);
  EXPECT_EQ(socket_.readiness(k), static_cast<uint32_t>(POLLOUT | POLLWRNORM | POLLHUP));
  EXPECT_EQ(socket_.shutdown(k, SHUT_WR), -ENOTCONN);
  ASSERT_EQ(socket_.listen(k, 5), 0);
  EXPECT_TRUE(socket_.is_listening());
  EXPECT_EQ(socket_.readiness(k), 0u);
  EXPECT_EQ(socket_.accept(k, child, true, false, true, nullptr), -EAGAIN);
  ::close(k);
}

TEST_F(Connection, ChildAfterForkTakesTheSocketAndGivesItBack) {
  const int k = connected(socket_);
  ASSERT_EQ(send(socket_, k, "before"), 6);
  ASSERT_EQ(receive(socket_, k, 3), "bef");  // half an entry read
  const pid_t child = fork();
  if (child == 0) {
    const bool good = receive(socket_, k, 3, MSG_WAITALL) == "ore" && send(socket_, k, "child") == 5 &&
                      receive(socket_, k, 5, MSG_WAITALL) == "child";
    _exit(good ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(send(socket_, k, "after"), 5);
  EXPECT_EQ(receive(socket_, k, 5, MSG_WAITALL), "after");
  ::close(k);
}

TEST_F(Connection, NothingOfTheChannelIsInTheChild) {
  connected(socket_);
  Channel* channel = Channel::existing();
  ASSERT_NE(channel, nullptr);
  const pid_t child = fork();
  if (child == 0) {
    unsigned char resident = 0;
    const bool gone = mincore(channel->map().base(), 4096, &resident) != 0 && errno == ENOMEM;
    _exit(gone && Channel::existing() == nullptr ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(Connection, DemotionKeepsTheOrder) {
  const int k = connected(socket_, false);
  ASSERT_EQ(send(socket_, k, "ring "), 5);
  server_.with([&] { server_.last().pending.push_back("unread"); });
  EXPECT_EQ(receive(socket_, k, 2, MSG_WAITALL), "un");
  ASSERT_EQ(socket_.demote(k), 0);
  EXPECT_EQ(socket_.mode(k), abi::kModeKernel);
  EXPECT_EQ(receive(socket_, k, 100), "read");
  EXPECT_EQ(send(socket_, k, "pair"), 4);
  char buffer[10];
  server_.with([&] {
    EXPECT_EQ(server_.last().received, "ring ");
    EXPECT_EQ(read(server_.last().pair.get(), buffer, sizeof buffer), 4);
  });
  EXPECT_EQ(socket_.readiness(k) & (POLLIN | POLLOUT), static_cast<uint32_t>(POLLOUT));
  ::close(k);
}

// After a seccomp filter nothing but read and write may be left, and no channel can be opened (sshd's children).
TEST_F(Connection, KernelModeNeedsNoChannelAfterFork) {
  const int k = connected(socket_, false);
  ASSERT_EQ(socket_.demote(k), 0);
  const pid_t child = fork();
  if (child == 0) {
    const bool good = send(socket_, k, "from the child") == 14 && socket_.mode(k) == abi::kModeKernel &&
                      (socket_.readiness(k) & POLLOUT) != 0 && Channel::existing() == nullptr;
    _exit(good ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  char buffer[20];
  server_.with([&] { EXPECT_EQ(read(server_.last().pair.get(), buffer, sizeof buffer), 14); });
  ::close(k);
}

TEST_F(Connection, DemotionWakesABlockedReader) {
  const int k = connected(socket_, false);
  std::thread reader([&] { EXPECT_EQ(receive(socket_, k, 100), "by the pair"); });
  server_.with([&] {
    server_.demote(server_.last());
    EXPECT_EQ(write(server_.last().pair.get(), "by the pair", 11), 11);
  });
  reader.join();
  ::close(k);
}

// Writers go on while the socket is torn from home to home: nothing is lost, doubled or out of order.
TEST_F(Connection, MovingUnderLoadKeepsTheStream) {
  const int k = connected(socket_, false);
  constexpr int kPieces = 3000;
  std::atomic<bool> done{false};
  std::thread mover([&] {
    while (!done) {
      server_.with([&] {  // as if another process had taken it: the client asks for it back
        FakeSocket& s = server_.last();
        if (s.home < 0) return;
        abi::SocketShared& old = s.shared();
        server_.leave_home(s);
        s.home = -1;
        server_.finish_leaving(s, old);
        s.home = static_cast<int>(s.places.size()) - 1;  // where the next rehome finds it
      });
      for (int i = 0; i < 200; ++i) std::this_thread::yield();
    }
  });
  std::string all;
  for (int i = 0; i < kPieces; ++i) {
    const std::string piece = std::to_string(i) + ",";
    ASSERT_EQ(send(socket_, k, piece), static_cast<long>(piece.size()));
    all += piece;
  }
  done = true;
  mover.join();
  for (;;) {
    std::lock_guard lock(server_.mutex);
    if (server_.last().received.size() < all.size() && server_.last().home >= 0) continue;
    EXPECT_TRUE(server_.last().received == all);
    break;
  }
  ::close(k);
}

TEST_F(Connection, SetidMovesSocketsToTheNewChannel) {
  const int k = connected(socket_);
  ASSERT_EQ(send(socket_, k, "old"), 3);
  Channel* before = Channel::existing();
  Channel::renew();
  EXPECT_EQ(receive(socket_, k, 3, MSG_WAITALL), "old");
  EXPECT_NE(Channel::existing(), before);
  EXPECT_EQ(send(socket_, k, "new"), 3);
  EXPECT_EQ(receive(socket_, k, 3, MSG_WAITALL), "new");
  ::close(k);
}

TEST_F(Connection, OutputOutlivesItsSocket) {
  const int k = connected(socket_, false);
  Channel* channel = Channel::existing();
  server_.with([&] { server_.last().complete = false; });
  const uint64_t limit = channel->output_limit();
  ASSERT_EQ(send(socket_, k, std::string(100'000, 'z')), 100'000);
  socket_.close();
  channel->reap();
  EXPECT_LT(channel->output_limit(), limit);
  server_.with([&] { server_.last().complete = true; });
  while (channel->output_limit() != limit) channel->reap();
  ::close(k);
}

TEST_F(Connection, TwinIsFoundOut) {
  const int k = connected(socket_);
  Socket second;
  Socket* twin = nullptr;
  EXPECT_EQ(second.attach(k, &twin), -EEXIST);
  EXPECT_EQ(twin, &socket_);
  int plain[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, plain), 0);
  EXPECT_EQ(second.attach(plain[0]), -ENOTSOCK);
  ::close(plain[0]);
  ::close(plain[1]);
  ::close(k);
}

TEST_F(Connection, AClosedSocketIsAnnounced) {
  const int k = connected(socket_, false);
  Channel* channel = Channel::existing();
  abi::SocketShared& shared = channel->shared(socket_.slot());
  uint32_t wants = 0;
  const auto bell = socket_.close_bell(k, false, false);
  server_.with([&] { wants = load_relaxed(shared.wants); });
  EXPECT_NE(wants & abi::kWantClose, 0u);
  socket_.close();
  ::close(k);
  bell.ring();
  Socket fresh;
  fresh.close_bell(-1, true, false).ring();  // nothing to announce: nothing happens
}

TEST_F(Connection, ServersEndEndsTheWait) {
  const int k = connected(socket_, false);
  std::thread reader([&] { EXPECT_EQ(receive(socket_, k, 1), "error " + std::to_string(ENETDOWN)); });
  server_.stop();
  Channel* channel = Channel::existing();
  if (channel != nullptr) channel->check_alive();
  reader.join();
  EXPECT_EQ(send(socket_, k, "x"), -ENETDOWN);
  EXPECT_EQ(socket_.readiness(k) & (POLLERR | POLLHUP), static_cast<uint32_t>(POLLERR | POLLHUP));
  ::close(k);
}

TEST_F(Connection, ABufferOfNothingIsAFullOneAlsoWhenNothingIsInIt) {
  const int k = connected(socket_, false);
  const auto set_buffer = [this](uint32_t bytes) {
    server_.with([&] { store_relaxed(server_.last().shared().send_buffer, server_.send_buffer = bytes); });
  };
  set_buffer(0);
  EXPECT_EQ(send(socket_, k, "x", MSG_DONTWAIT), -EAGAIN);
  EXPECT_EQ(socket_.readiness(k) & POLLOUT, 0u);
  set_buffer(65536);
  EXPECT_NE(socket_.readiness(k) & POLLOUT, 0u);
  EXPECT_EQ(send(socket_, k, "x", MSG_DONTWAIT), 1);
  ::close(k);
}

TEST_F(Connection, NobodyIsKickedWhoIsAwake) {
  const int k = connected(socket_);
  uint32_t kicks = 0, turns = 0;
  server_.with([&] {  // the server stands still, awake
    kicks = server_.kicks;
    turns = server_.turns;
    for (int i = 0; i < 20; ++i) EXPECT_EQ(send(socket_, k, "x"), 1);
  });
  EXPECT_EQ(receive(socket_, k, 20, MSG_WAITALL), std::string(20, 'x'));
  EXPECT_LE(server_.kicks - kicks, 1u + (server_.turns - turns));
  ::close(k);
}

}  // namespace
}  // namespace ferry::client::test

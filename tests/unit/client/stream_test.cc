// Streams of src/client against a server without network: data, ends, errors, blocking, urgent bytes.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>

#include "client/iov_cursor.h"
#include "client/socket.h"
#include "fake_server.h"

namespace ferry::client::test {
namespace {

class Stream : public testing::Test {
 protected:
  void SetUp() override {
    k_ = socket_.open(abi::kKindTcp, false, false, true);
    ASSERT_GE(k_, 0);
    ASSERT_EQ(socket_.connect(k_, make_address(0x0a090002, 80), false), 0);
  }
  void TearDown() override {
    socket_.close();
    ::close(k_);
    EXPECT_EQ(server_.violations, 0u);
  }
  long send(const std::string& data, int flags = 0) {
    const iovec v{const_cast<char*>(data.data()), data.size()};
    SendRequest request;
    request.data = {&v, 1};
    request.flags = flags;
    return socket_.send(k_, request);
  }
  long receive(std::string& out, size_t size, int flags = 0) {
    out.assign(size, '?');
    const iovec v{out.data(), size};
    ReceiveRequest request;
    request.data = {&v, 1};
    request.flags = flags;
    const long r = socket_.receive(k_, request);
    out.resize(r > 0 && (flags & MSG_TRUNC) == 0 ? static_cast<size_t>(r) : 0);
    return r;
  }
  void deliver(const std::string& data) {
    server_.with([&] { server_.last().pending.push_back(data); });
  }
  // Waits until the server has seen so many bytes.
  std::string received(size_t size) {
    for (;;) {
      std::lock_guard lock(server_.mutex);
      if (server_.last().received.size() >= size) return server_.last().received;
    }
  }
  // Waits until everything pending is in the ring.
  void delivered() {
    for (;;) {
      std::lock_guard lock(server_.mutex);
      if (server_.last().pending.empty()) return;
    }
  }

  // What a send returns that has sent a part, and waits for room, when the connection is reset.
  template <typename Send>
  long reset_while(Send send) {
    server_.with([&] { server_.last().take = false; });
    const uint64_t before = Channel::copy_counters().out;
    long result = 0;
    std::thread writer([&] { result = send(); });
    while (Channel::copy_counters().out == before || (load_acquire(server_.last().shared().wants) & abi::kWantWrite) == 0) usleep(1000);
    server_.with([&] { server_.fail(server_.last(), Errc::reset); });
    writer.join();
    return result;
  }

  FakeServer server_;
  Socket socket_;
  int k_ = -1;
  std::string got_;
};

TEST_F(Stream, SmallWritesArriveInOrder) {
  std::string all;
  for (int i = 0; i < 500; ++i) {
    const std::string piece = "piece " + std::to_string(i) + ";";
    ASSERT_EQ(send(piece), static_cast<long>(piece.size()));
    all += piece;
  }
  EXPECT_EQ(received(all.size()), all);
}

TEST_F(Stream, LargeTransferBothWays) {
  server_.with([&] { server_.last().echo = true; });
  std::string data(3'000'000, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 31 + i / 251);
  std::thread writer([&] { EXPECT_EQ(send(data), static_cast<long>(data.size())); });
  EXPECT_EQ(receive(got_, data.size(), MSG_WAITALL), static_cast<long>(data.size()));
  writer.join();
  EXPECT_TRUE(got_ == data);
}

// Bytes of a file, in the current folder: in the page cache, and in a file system that can tell.
class FileStream : public Stream {
 protected:
  void SetUp() override {
    Stream::SetUp();
    file_ = ipc::OwnedFd(::open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    bytes_.resize(1'000'000);
    for (size_t i = 0; i < bytes_.size(); ++i) bytes_[i] = static_cast<char>(i * 31 + i / 251);
    ASSERT_EQ(write(file_.get(), bytes_.data(), bytes_.size()), static_cast<ssize_t>(bytes_.size()));
    char byte;
    const iovec v{&byte, 1};
    if (preadv2(file_.get(), &v, 1, 0, RWF_NOWAIT) != 1) GTEST_SKIP() << "no RWF_NOWAIT in this file system";
  }
  long send_file(int fd, off_t offset, size_t count, int flags = 0) {
    const FileBytes file{fd, offset, count};
    SendRequest request;
    request.file = &file;
    request.flags = flags;
    return socket_.send(k_, request);
  }
  ipc::OwnedFd file_;
  std::string bytes_;
};

TEST_F(FileStream, IsCopiedOnce) {
  const auto before = Channel::copy_counters();
  EXPECT_EQ(send_file(file_.get(), 0, bytes_.size()), static_cast<long>(bytes_.size()));
  EXPECT_EQ(send_file(file_.get(), 1000, 234), 234);
  EXPECT_TRUE(received(bytes_.size() + 234) == bytes_ + bytes_.substr(1000, 234));
  EXPECT_EQ(Channel::copy_counters().out - before.out, bytes_.size() + 234);
}

TEST_F(FileStream, EndsWhereItEnds) {
  EXPECT_EQ(send_file(file_.get(), 999'990, 1'000'000), 10);
  EXPECT_EQ(send_file(file_.get(), 1'000'000, 1), 0);
  EXPECT_EQ(send_file(file_.get(), 5'000'000, 1), 0);
  ASSERT_EQ(send("next"), 4);
  EXPECT_EQ(received(14), bytes_.substr(999'990) + "next");
}

TEST_F(FileStream, ThatCannotBeHadAtOnceIsNotSent) {
  const ipc::OwnedFd memory(memfd_create("memory", MFD_CLOEXEC));
  ASSERT_EQ(write(memory.get(), "bytes", 5), 5);
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const ipc::OwnedFd out(ends[0]), in(ends[1]);
  for (const int fd : {memory.get(), in.get(), out.get(), 999}) {
    char byte;
    const iovec v{&byte, 1};
    if (preadv2(fd, &v, 1, 0, RWF_NOWAIT) == 1) continue;
    EXPECT_EQ(send_file(fd, 0, 5), 0);
  }
  ASSERT_EQ(send("next"), 4);
  EXPECT_EQ(received(4), "next");
}

TEST_F(FileStream, AnErrorBehindWhatWasSentIsTheNextCalls) {
  EXPECT_GT(reset_while([&] { return send_file(file_.get(), 0, bytes_.size()); }), 0);
  EXPECT_EQ(send_file(file_.get(), 0, 1), -ECONNRESET);
  EXPECT_EQ(send_file(file_.get(), 0, 1), -EPIPE);
}

TEST_F(FileStream, StopsWhereThereIsNoRoom) {
  server_.with([&] { server_.last().take = false; });
  size_t sent = 0;
  for (long r = 0; (r = send_file(file_.get(), static_cast<off_t>(sent % bytes_.size()), bytes_.size() - sent % bytes_.size(), MSG_DONTWAIT)) > 0;)
    sent += static_cast<size_t>(r);
  EXPECT_EQ(send_file(file_.get(), 0, 1, MSG_DONTWAIT), -EAGAIN);
  EXPECT_GT(sent, 0u);
  server_.with([&] { server_.last().take = true; });
  std::string wanted;
  while (wanted.size() < sent) wanted += bytes_;
  wanted.resize(sent);
  EXPECT_TRUE(received(sent) == wanted);
}

TEST_F(Stream, ReceiveGivesWhatIsThere) {
  deliver("hello");
  EXPECT_EQ(receive(got_, 3), 3);
  EXPECT_EQ(got_, "hel");
  EXPECT_EQ(socket_.bytes_available(k_), 2);
  EXPECT_EQ(receive(got_, 100), 2);
  EXPECT_EQ(got_, "lo");
  EXPECT_EQ(receive(got_, 100, MSG_DONTWAIT), -EAGAIN);
}

TEST_F(Stream, PeekLeavesAndTruncDropsBytes) {
  deliver("abc");
  deliver("def");
  delivered();
  EXPECT_EQ(receive(got_, 6, MSG_PEEK | MSG_WAITALL), 6);
  EXPECT_EQ(got_, "abcdef");
  EXPECT_EQ(receive(got_, 4, MSG_TRUNC), 4);
  EXPECT_EQ(receive(got_, 10), 2);
  EXPECT_EQ(got_, "ef");
}

TEST_F(Stream, WaitsForTheLowWaterMark) {
  const int four = 4;
  ASSERT_EQ(socket_.set_option(k_, SOL_SOCKET, SO_RCVLOWAT, &four, sizeof four), 0);
  deliver("ab");
  delivered();
  EXPECT_EQ(socket_.readiness(k_) & POLLIN, 0u);
  std::thread later([&] { deliver("cdef"); });
  EXPECT_GE(receive(got_, 100), 4);
  later.join();
}

TEST_F(Stream, EndOfStreamComesAfterTheData) {
  server_.with([&] {
    server_.last().pending.push_back("last words");
    server_.last().peer_closed = true;
  });
  EXPECT_EQ(receive(got_, 100, MSG_WAITALL), 10);
  EXPECT_EQ(receive(got_, 100), 0);
  EXPECT_EQ(receive(got_, 100), 0);
  EXPECT_EQ(socket_.readiness(k_) & (POLLIN | POLLRDHUP | POLLHUP), static_cast<uint32_t>(POLLIN | POLLRDHUP));
}

TEST_F(Stream, ErrorIsToldOnceAfterTheData) {
  deliver("x");
  delivered();
  server_.with([&] { server_.fail(server_.last(), Errc::reset); });
  EXPECT_EQ(socket_.readiness(k_), static_cast<uint32_t>(POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLERR | POLLHUP | POLLRDHUP));
  EXPECT_EQ(receive(got_, 10), 1);
  EXPECT_EQ(receive(got_, 10), -ECONNRESET);
  EXPECT_EQ(receive(got_, 10), 0);
  EXPECT_EQ(send("y"), -EPIPE);
}

TEST_F(Stream, SendTellsTheErrorFirstThenBrokenPipe) {
  server_.with([&] { server_.fail(server_.last(), Errc::timed_out); });
  EXPECT_EQ(send("y"), -ETIMEDOUT);
  EXPECT_EQ(send("y"), -EPIPE);
  EXPECT_EQ(socket_.take_error(k_), 0);
}

// send(2): what was sent counts.
TEST_F(Stream, AnErrorBehindWhatWasSentIsTheNextCalls) {
  const std::string large(32 << 20, 'l');
  EXPECT_GT(reset_while([&] { return send(large); }), 0);
  EXPECT_EQ(send("more"), -ECONNRESET);
  EXPECT_EQ(send("more"), -EPIPE);
}

TEST_F(Stream, ShutdownFollowsTheData) {
  ASSERT_EQ(send("bye"), 3);
  ASSERT_EQ(socket_.shutdown(k_, SHUT_WR), 0);
  EXPECT_EQ(send("more"), -EPIPE);
  EXPECT_EQ(received(3), "bye");
  EXPECT_EQ(socket_.shutdown(k_, 7), -EINVAL);
  for (bool shut = false; !shut;) {
    std::lock_guard lock(server_.mutex);
    shut = server_.last().output_shut;
  }
  EXPECT_EQ(socket_.readiness(k_) & POLLOUT, static_cast<uint32_t>(POLLOUT));  // a write would not block: it fails
}

TEST_F(Stream, FullBufferBlocksOrSaysSo) {
  server_.with([&] { server_.last().complete = false; });
  const std::string data(200'000, 'd');
  EXPECT_EQ(send(data, MSG_DONTWAIT), 200'000);
  const long rest = send(data, MSG_DONTWAIT);
  EXPECT_GT(rest, 0);
  EXPECT_LE(rest, 256 * 1024 - 200'000);
  EXPECT_EQ(send(data, MSG_DONTWAIT), -EAGAIN);
  EXPECT_EQ(socket_.readiness(k_) & POLLOUT, 0u);
  EXPECT_EQ(socket_.bytes_unsent(k_), static_cast<int>(200'000 + rest));
  std::thread later([&] { server_.with([&] { server_.last().complete = true; }); });
  EXPECT_EQ(send(data), 200'000);  // blocks until there is room
  later.join();
}

// Both wishes at once, one of them pending already: a poller that wants to read must not lose its wish to write.
TEST_F(Stream, WishesAreAskedForOneByOne) {
  auto wants = [&] {
    std::lock_guard lock(server_.mutex);
    return load_acquire(server_.last().shared().wants);
  };
  EXPECT_NE(socket_.readiness(k_) & POLLOUT, 0u);
  EXPECT_EQ(wants(), uint32_t{abi::kWantRead});
  server_.with([&] { server_.last().complete = false; });
  const std::string data(300'000, 'd');
  EXPECT_GT(send(data, MSG_DONTWAIT), 0);
  server_.with([&] { atomic_and(server_.last().shared().wants, ~uint32_t{abi::kWantWrite}); });
  EXPECT_EQ(socket_.readiness(k_) & POLLOUT, 0u);
  EXPECT_EQ(wants(), uint32_t{abi::kWantRead | abi::kWantWrite});
}

TEST_F(Stream, FullRingIsNotReadyEither) {
  server_.with([&] { server_.last().take = false; });
  int sent = 0;
  while (send("1", MSG_DONTWAIT) == 1) ++sent;
  EXPECT_EQ(sent, 32);
  EXPECT_EQ(socket_.readiness(k_) & POLLOUT, 0u);
  std::thread later([&] { server_.with([&] { server_.last().take = true; }); });
  EXPECT_EQ(socket_.wait(k_, POLLOUT, -1), POLLOUT);
  later.join();
}

TEST_F(Stream, MoreAndUrgentMarkTheLastPiece) {
  ASSERT_EQ(send("ab", MSG_MORE), 2);
  ASSERT_EQ(send("cd", MSG_OOB), 2);
  received(4);
  std::lock_guard lock(server_.mutex);
  EXPECT_EQ(server_.last().flags, (std::vector<uint16_t>{abi::kMore, abi::kUrgent}));
}

TEST_F(Stream, TimeoutsEndTheWait) {
  const timeval soon{0, 1000};
  ASSERT_EQ(socket_.set_option(k_, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon), 0);
  EXPECT_EQ(receive(got_, 10), -EAGAIN);
  timeval back{};
  socklen_t length = sizeof back;
  ASSERT_EQ(socket_.get_option(k_, SOL_SOCKET, SO_RCVTIMEO, &back, &length), 0);
  EXPECT_EQ(back.tv_usec, 1000);
}

TEST_F(Stream, ScatterListsOfAnyShape) {
  server_.with([&] { server_.last().echo = true; });
  char a[] = "one", c[] = "three";
  const iovec out[] = {{a, 3}, {nullptr, 0}, {c, 5}};
  SendRequest request;
  request.data = out;
  ASSERT_EQ(socket_.send(k_, request), 8);
  char x[2], y[10];
  const iovec in[] = {{x, 2}, {nullptr, 0}, {y, 6}};
  ReceiveRequest get;
  get.data = in;
  get.flags = MSG_WAITALL;
  ASSERT_EQ(socket_.receive(k_, get), 8);
  EXPECT_EQ(std::string(x, 2) + std::string(y, 6), "onethree");
}

void set_urgent(FakeServer& server, uint64_t mark, char byte) {
  server.with([&] {
    abi::SocketShared& w = server.last().shared();
    store_relaxed(w.urgent_byte, 0x100u | static_cast<uint8_t>(byte));
    store_release(w.urgent_mark, mark);
    server.signal(server.last());
  });
}

TEST_F(Stream, UrgentByteIsReadApart) {
  deliver("abcUdef");
  delivered();
  set_urgent(server_, 4, 'U');
  EXPECT_EQ(socket_.readiness(k_) & POLLPRI, static_cast<uint32_t>(POLLPRI));
  EXPECT_EQ(receive(got_, 100), 3);  // stops in front of the mark
  EXPECT_EQ(socket_.at_mark(k_), 1);
  EXPECT_EQ(receive(got_, 1, MSG_OOB), 1);
  EXPECT_EQ(got_, "U");
  EXPECT_EQ(receive(got_, 1, MSG_OOB), -EINVAL);
  EXPECT_EQ(receive(got_, 100), 3);
  EXPECT_EQ(got_, "def");
  EXPECT_EQ(socket_.at_mark(k_), 0);
}

TEST_F(Stream, UrgentByteInLine) {
  const int on = 1;
  ASSERT_EQ(socket_.set_option(k_, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on), 0);
  deliver("abUc");
  delivered();
  set_urgent(server_, 3, 'U');
  EXPECT_EQ(receive(got_, 100), 2);
  EXPECT_EQ(receive(got_, 1, MSG_OOB), -EINVAL);
  EXPECT_EQ(receive(got_, 100), 2);
  EXPECT_EQ(got_, "Uc");
}

TEST_F(Stream, OneCopyEachWayIsCounted) {
  server_.with([&] { server_.last().echo = true; });
  const CopyCounters before = Channel::copy_counters();
  const std::string data(100'000, 'c');
  std::thread writer([&] { send(data); });
  receive(got_, data.size(), MSG_WAITALL);
  writer.join();
  const CopyCounters after = Channel::copy_counters();
  EXPECT_EQ(after.out - before.out, data.size());
  EXPECT_EQ(after.in - before.in, data.size());
}

TEST_F(Stream, ThreadsMayShareASocket) {
  server_.with([&] { server_.last().echo = true; });
  constexpr int kThreads = 3, kRounds = 400;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRounds; ++i) EXPECT_EQ(send(std::string(64, static_cast<char>('a' + t))), 64);
    });
  std::string all;
  while (all.size() < size_t{kThreads} * kRounds * 64) {
    ASSERT_GT(receive(got_, 5000), 0);
    all += got_;
  }
  for (auto& t : threads) t.join();
  for (int t = 0; t < kThreads; ++t)  // pieces are not torn
    EXPECT_EQ(std::count(all.begin(), all.end(), 'a' + t), kRounds * 64);
  for (size_t i = 0; i < all.size(); i += 64) EXPECT_EQ(all.substr(i, 64), std::string(64, all[i]));
}

TEST_F(Stream, LyingServerKillsOnlyTheChannel) {
  server_.with([&] {
    abi::SocketShared& w = server_.last().shared();
    w.rx[0] = {~uint64_t{0} - 5, 100, 0, 0};
    store_release(w.rx_produced, 1u);
    server_.signal(server_.last());
  });
  EXPECT_LE(receive(got_, 10), 0);
  EXPECT_EQ(receive(got_, 10), -ENETDOWN);
}

TEST(StreamUnconnected, SaysWhatLinuxSays) {
  FakeServer server;
  Socket socket;
  const int k = socket.open(abi::kKindTcp, false, false, true);
  ASSERT_GE(k, 0);
  EXPECT_EQ(socket.readiness(k), static_cast<uint32_t>(POLLOUT | POLLWRNORM | POLLHUP));
  char byte = 'x';
  const iovec v{&byte, 1};
  SendRequest out;
  out.data = {&v, 1};
  EXPECT_EQ(socket.send(k, out), -EPIPE);
  ReceiveRequest in;
  in.data = {&v, 1};
  EXPECT_EQ(socket.receive(k, in), -ENOTCONN);
  EXPECT_EQ(socket.shutdown(k, SHUT_WR), -ENOTCONN);
  Address address;
  EXPECT_EQ(socket.remote_address(k, address), -ENOTCONN);
  socket.close();
  ::close(k);
}

}  // namespace
}  // namespace ferry::client::test

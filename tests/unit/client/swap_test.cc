// Input by page swap on a channel; Property3… are those of docs/testing.md.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <algorithm>
#include <thread>

#include "client/regions.h"
#include "client/socket.h"
#include "fake_server.h"

namespace ferry::client::test {
namespace {

constexpr size_t kPage = abi::kHugePageSize;
constexpr size_t kLeast = 64 * 1024;  // bytes of a page that are worth an exchange

// Different bytes everywhere, so that a page in the wrong place is seen.
std::string pattern(size_t n, uint32_t seed) {
  std::string s(n, '\0');
  uint32_t x = seed * 2654435761u + 1;
  for (char& c : s) c = static_cast<char>((x = x * 1664525u + 1013904223u) >> 24);
  return s;
}

class Swap : public testing::Test {
 protected:
  void SetUp() override {
    server_.send_buffer = 32 << 20;
    server_.swap_bytes = kLeast;
    regions::enable();
    k_ = socket_.open(abi::kKindTcp, false, false, true);
    ASSERT_GE(k_, 0);
    ASSERT_EQ(socket_.connect(k_, make_address(0x0a090002, 80), false), 0);
    void* p = regions::allocate(kPage, false);
    if (p == nullptr) GTEST_SKIP() << "no huge pages here";
    regions::release(p);
    before_ = Channel::copy_counters();
  }
  void TearDown() override {
    socket_.close();
    ::close(k_);
    EXPECT_EQ(server_.violations, 0u);
  }
  char* allocate(size_t n, char fill) {
    auto* p = static_cast<char*>(regions::allocate(n, false));
    EXPECT_NE(p, nullptr);
    std::memset(p, fill, n);
    return p;
  }
  long receive(char* p, size_t n, int flags = MSG_WAITALL) {
    const iovec v{p, n};
    ReceiveRequest request;
    request.data = {&v, 1};
    request.flags = flags;
    return socket_.receive(k_, request);
  }
  long send(const char* p, size_t n) {
    const iovec v{const_cast<char*>(p), n};
    SendRequest request;
    request.data = {&v, 1};
    return socket_.send(k_, request);
  }
  // What the peer sends, in pieces that no page is a multiple of.
  void deliver(std::string_view text, size_t each = 50'000) {
    server_.with([&] {
      for (; !text.empty(); text.remove_prefix(std::min(each, text.size())))
        server_.last().pending.emplace_back(text.substr(0, each));
    });
  }
  // The peer sends it as soon as memory has been lent for it.
  std::thread deliver_late(std::string_view text) {
    return std::thread([this, text] {
      for (bool lent = false; !lent;) {
        std::lock_guard lock(server_.mutex);
        lent = load_acquire(server_.last().shared().input_produced) != server_.last().input_done;
      }
      deliver(text);
    });
  }
  uint64_t swapped() { return Channel::copy_counters().swapped - before_.swapped; }
  uint64_t copied() { return Channel::copy_counters().in - before_.in; }
  std::string sent_so_far(size_t size) {
    for (;;) {
      std::lock_guard lock(server_.mutex);
      if (server_.last().received.size() >= size) return server_.last().received;
    }
  }

  FakeServer server_;
  Socket socket_;
  int k_ = -1;
  CopyCounters before_;
};

TEST_F(Swap, Property5WholePagesAreNotCopied) {
  const std::string all = pattern(8 * kPage, 1);
  char* p = allocate(8 * kPage, 'x');
  std::thread peer = deliver_late(all);
  ASSERT_EQ(receive(p, 8 * kPage), static_cast<long>(8 * kPage));
  peer.join();
  EXPECT_TRUE(std::equal(all.begin(), all.end(), p));
  EXPECT_EQ(swapped(), 8 * kPage);
  EXPECT_EQ(copied(), 0u);
  const auto& words = server_.last().shared();
  EXPECT_EQ(words.swapped_in, 8 * kPage);
  EXPECT_EQ(words.swapped_pages, 8u);
  EXPECT_EQ(words.copied_in, 0u);
  regions::release(p);
}

TEST_F(Swap, WhatCameBeforeOrElsewhereIsCopiedOnceIntoThePages) {
  const std::string all = pattern(5 * kPage, 2);
  char* p = allocate(5 * kPage, 'x');
  server_.with([&] { server_.last().fill_lent = false; });
  deliver(all);
  ASSERT_EQ(receive(p, 5 * kPage), static_cast<long>(5 * kPage));
  EXPECT_TRUE(std::equal(all.begin(), all.end(), p));
  EXPECT_EQ(swapped(), 5 * kPage);
  EXPECT_EQ(copied(), 5 * kPage);
  regions::release(p);
}

TEST_F(Swap, Property4EveryOffsetAndLengthIsAsCopied) {
  constexpr size_t kAll = 4 * kPage;
  const std::string source = pattern(kAll, 3), around = pattern(kAll, 4);
  char* p = allocate(kAll, 0);
  size_t n = 0;
  for (size_t offset : {size_t{0}, size_t{1}, size_t{4095}, size_t{4096}, kPage - kLeast, kPage - 1, kPage, kPage + 1, kPage + 4095})
    for (size_t length : {kLeast - 1, kLeast, kLeast + 1, kPage - 1, kPage, kPage + 1, kPage + kLeast, 2 * kPage - 1, 2 * kPage, 2 * kPage + 4097})
      for (bool placed : {true, false}) {
        std::memcpy(p, around.data(), kAll);
        server_.with([&] { server_.last().fill_lent = placed; });
        const std::string_view text = std::string_view(source).substr(n++ % 977, length);
        deliver(text, 30'000 + n * 1013);
        ASSERT_EQ(receive(p + offset, length), static_cast<long>(length));
        ASSERT_TRUE(std::equal(text.begin(), text.end(), p + offset)) << offset << ' ' << length;
        ASSERT_EQ(std::memcmp(p, around.data(), offset), 0) << offset << ' ' << length;
        ASSERT_EQ(std::memcmp(p + offset + length, around.data() + offset + length, kAll - offset - length), 0) << offset << ' ' << length;
      }
  EXPECT_GT(swapped(), 20 * kPage);
  regions::release(p);
}

// The program asks for what is there, without waiting for more: nothing is lent before whole pages come at once; then the rest follows.
TEST_F(Swap, Property4ReceivesThatDoNotWaitForMore) {
  const std::string all = pattern(40 * kPage, 5);
  char* p = allocate(8 * kPage, 'x');
  deliver(all, 200'000);
  for (size_t done = 0; done < all.size();) {
    const size_t offset = done % (8 * kPage), room = std::min(all.size() - done, 8 * kPage - offset);
    const long n = receive(p + offset, room, 0);
    ASSERT_GT(n, 0);
    ASSERT_EQ(std::memcmp(p + offset, all.data() + done, static_cast<size_t>(n)), 0) << done;
    done += static_cast<size_t>(n);
    std::this_thread::yield();
  }
  EXPECT_GE(copied() + swapped(), all.size());
  regions::release(p);
}

TEST_F(Swap, PeekAndSmallReceivesSeeWhatWasLent) {
  const std::string all = pattern(3 * kPage, 6);
  char* p = allocate(3 * kPage, 'x');
  std::thread peer = deliver_late(std::string_view(all).substr(0, kPage + 70'000));
  const int64_t soon = 300'000;  // µs
  const timeval time{0, soon};
  ASSERT_EQ(socket_.set_option(k_, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time), 0);
  ASSERT_EQ(receive(p, 3 * kPage), static_cast<long>(kPage + 70'000));  // the time is up
  peer.join();
  EXPECT_EQ(std::memcmp(p, all.data(), kPage + 70'000), 0);
  EXPECT_EQ(std::count(p + kPage + 70'000, p + 3 * kPage, 'x'), static_cast<long>(2 * kPage - 70'000));
  deliver(std::string_view(all).substr(kPage + 70'000, 1'000'000));
  std::string small(150'000, '\0');
  for (size_t done = kPage + 70'000; done < kPage + 1'070'000;) {
    const long peeked = receive(small.data(), small.size(), MSG_PEEK);
    ASSERT_GT(peeked, 0);
    ASSERT_EQ(std::memcmp(small.data(), all.data() + done, static_cast<size_t>(peeked)), 0);
    const long n = receive(small.data(), 100'000, 0);
    ASSERT_GT(n, 0);
    ASSERT_EQ(std::memcmp(small.data(), all.data() + done, static_cast<size_t>(n)), 0);
    done += static_cast<size_t>(n);
  }
  regions::release(p);
}

class SwapFails : public Swap {
 protected:
  // A receive for which memory is lent, and into which the server has put bytes that it has not announced.
  void expect_failure(const std::function<void()>& how, long error) {
    char* p = allocate(3 * kPage, 'u');
    std::thread other([&] {
      for (bool lent = false; !lent;) {
        std::lock_guard lock(server_.mutex);
        abi::SocketShared& w = server_.last().shared();
        if (!(lent = load_acquire(w.input_produced) != 0)) continue;
        const abi::InputPiece piece = w.input[0];
        std::memset(server_.channels.back()->regions[piece.region - 1].base + piece.offset, 'b', kPage);
      }
      how();
    });
    EXPECT_EQ(receive(p, 3 * kPage), error);
    other.join();
    EXPECT_EQ(std::count(p, p + 3 * kPage, 'u'), static_cast<long>(3 * kPage));
    EXPECT_EQ(swapped(), 0u);
    regions::release(p);
  }
};

TEST_F(SwapFails, Property3ByAReset) {
  expect_failure([&] { server_.with([&] { server_.fail(server_.last(), Errc::reset); }); }, -ECONNRESET);
}
TEST_F(SwapFails, Property3ByATimeOut) {
  const timeval time{0, 100'000};
  ASSERT_EQ(socket_.set_option(k_, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time), 0);
  expect_failure([] {}, -EAGAIN);
}
TEST_F(SwapFails, Property3ByASignal) {
  struct sigaction action{}, old{};
  action.sa_handler = [](int) {};
  sigaction(SIGUSR1, &action, &old);
  const pthread_t self = pthread_self();
  std::atomic<bool> over{false};
  std::thread shooter;
  expect_failure([&] {
    shooter = std::thread([&] {
      while (!over) pthread_kill(self, SIGUSR1), std::this_thread::sleep_for(std::chrono::milliseconds(5));
    });
  }, -EINTR);
  over = true;
  shooter.join();
  sigaction(SIGUSR1, &old, nullptr);
}
TEST_F(SwapFails, Property3ByTheEndOfTheStream) {
  expect_failure([&] { server_.with([&] { server_.last().peer_closed = true; }); }, 0);
}

// What a receive gets before it ends early is copied; nothing else changes, though the page is full of older bytes.
TEST_F(Swap, Property3AShortReceiveChangesNoMore) {
  const std::string text = pattern(kLeast / 2, 7);
  regions::release(allocate(8 * kPage, 'o'));  // what is lent holds these
  char* p = allocate(3 * kPage, 'u');
  const timeval time{0, 100'000};
  ASSERT_EQ(socket_.set_option(k_, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time), 0);
  std::thread peer = deliver_late(text);
  ASSERT_EQ(receive(p + 5, 2 * kPage), static_cast<long>(text.size()));
  peer.join();
  EXPECT_EQ(std::memcmp(p + 5, text.data(), text.size()), 0);
  EXPECT_EQ(std::count(p, p + 3 * kPage, 'u'), static_cast<long>(3 * kPage - text.size() + static_cast<size_t>(std::count(text.begin(), text.end(), 'u'))));
  regions::release(p);
}

TEST_F(Swap, OutputThatIsPendingKeepsItsBytes) {
  const std::string all = pattern(2 * kPage, 8);
  char* p = allocate(2 * kPage, 'a');
  server_.with([&] { server_.last().take = false; });
  ASSERT_EQ(send(p, 2 * kPage), static_cast<long>(2 * kPage));
  std::thread peer = deliver_late(all);
  ASSERT_EQ(receive(p, 2 * kPage), static_cast<long>(2 * kPage));
  peer.join();
  EXPECT_EQ(swapped(), 2 * kPage);
  ASSERT_EQ(send(p, 2 * kPage), static_cast<long>(2 * kPage));  // and what was exchanged can be referred to
  std::memset(p, 'z', 2 * kPage);
  regions::release(allocate(8 * kPage, 'o'));
  server_.with([&] { server_.last().take = true; });
  EXPECT_EQ(sent_so_far(4 * kPage), std::string(2 * kPage, 'a') + all);
  EXPECT_EQ(server_.last().referenced, 4 * kPage);
  EXPECT_EQ(std::string(p, 2 * kPage), std::string(2 * kPage, 'z'));
  regions::release(p);
}

TEST_F(Swap, WhatWasExchangedIsMemoryLikeAnyOther) {
  const std::string all = pattern(4 * kPage, 9);
  char* p = allocate(4 * kPage, 'x');
  std::thread peer = deliver_late(all);
  ASSERT_EQ(receive(p, 4 * kPage), static_cast<long>(4 * kPage));
  peer.join();
  ASSERT_GE(swapped(), 2 * kPage);
  regions::unmap(p + 4096, 4096);  // a hole
  EXPECT_EQ(std::memcmp(p, all.data(), 4096), 0);
  EXPECT_EQ(std::memcmp(p + 8192, all.data() + 8192, 4 * kPage - 8192), 0);
  regions::clear(p + kPage, kPage);
  EXPECT_EQ(std::string(p + kPage, kPage), std::string(kPage, '\0'));
  std::memset(p + 2 * kPage, 'y', kPage);
  EXPECT_EQ(std::memcmp(p + 3 * kPage, all.data() + 3 * kPage, kPage), 0);
  regions::unmap(p, 4 * kPage);
  auto* zero = static_cast<char*>(regions::allocate(6 * kPage, true));
  EXPECT_EQ(std::count(zero, zero + 6 * kPage, 0), static_cast<long>(6 * kPage));
  regions::release(zero);
}

TEST_F(Swap, WhatTheProgramTreatsItselfIsCopiedTo) {
  const std::string all = pattern(3 * kPage, 10);
  char* p = allocate(3 * kPage, 'x');
  regions::set_apart(p + kPage, kPage);
  deliver(all);
  ASSERT_EQ(receive(p, 3 * kPage), static_cast<long>(3 * kPage));
  EXPECT_EQ(std::memcmp(p, all.data(), 3 * kPage), 0);
  EXPECT_LE(swapped(), 2 * kPage);
  EXPECT_GE(copied(), kPage);
  regions::release(p);
}

TEST_F(Swap, Property8WithAChildThatHasThePages) {
  const std::string all = pattern(4 * kPage, 11);
  char* p = allocate(4 * kPage, 'a');
  std::thread peer = deliver_late(std::string_view(all).substr(0, 2 * kPage));
  ASSERT_EQ(receive(p, 2 * kPage), static_cast<long>(2 * kPage));
  peer.join();
  ASSERT_EQ(swapped(), 2 * kPage);
  int go[2];
  ASSERT_EQ(pipe(go), 0);
  regions::before_fork();
  const pid_t child = fork();
  if (child == 0) {
    regions::after_fork_in_child();
    char byte;
    if (read(go[0], &byte, 1) != 1) _exit(2);
    const bool good = std::memcmp(p, all.data(), 2 * kPage) == 0 && std::count(p + 2 * kPage, p + 4 * kPage, 'a') == 2 * kPage;
    std::memset(p, 'c', 4 * kPage);
    regions::release(p);
    _exit(good ? 0 : 1);
  }
  regions::after_fork_in_parent();
  deliver(all);
  ASSERT_EQ(receive(p, 4 * kPage), static_cast<long>(4 * kPage));  // the child has the pages: they are copied to
  EXPECT_EQ(swapped(), 2 * kPage);
  EXPECT_EQ(std::memcmp(p, all.data(), 4 * kPage), 0);
  char* other = allocate(4 * kPage, 'b');  // of another region
  peer = deliver_late(all);
  ASSERT_EQ(receive(other, 4 * kPage), static_cast<long>(4 * kPage));
  peer.join();
  EXPECT_EQ(swapped(), 6 * kPage);
  EXPECT_EQ(std::memcmp(other, all.data(), 4 * kPage), 0);
  ASSERT_EQ(write(go[1], "x", 1), 1);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(std::memcmp(p, all.data(), 4 * kPage), 0);
  ::close(go[0]);
  ::close(go[1]);
  regions::release(p);
  regions::release(other);
}

// fork while a receive waits: what is lent belongs to this process alone, and the receive goes on.
TEST_F(Swap, Property8ForkInTheMiddleOfAReceive) {
  const std::string all = pattern(4 * kPage, 12);
  char* p = allocate(4 * kPage, 'a');
  std::thread forker([&] {
    for (bool half = false; !half;) {
      std::lock_guard lock(server_.mutex);
      half = load_acquire(server_.last().shared().input_produced) != 0;
    }
    deliver(std::string_view(all).substr(0, kPage + kPage / 2));
    while (load_acquire(server_.last().shared().rx_consumed_bytes) < kPage + kPage / 2) std::this_thread::yield();
    regions::before_fork();
    const pid_t child = fork();
    if (child == 0) {
      regions::after_fork_in_child();
      _exit(std::count(p + 2 * kPage, p + 4 * kPage, 'a') == 2 * kPage ? 0 : 1);
    }
    regions::after_fork_in_parent();
    int status = -1;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    deliver(std::string_view(all).substr(kPage + kPage / 2));
  });
  ASSERT_EQ(receive(p, 4 * kPage), static_cast<long>(4 * kPage));
  forker.join();
  EXPECT_EQ(std::memcmp(p, all.data(), 4 * kPage), 0);
  regions::release(p);
}

TEST_F(Swap, TwoThreadsThatShareAStreamShareItsBytes) {
  constexpr size_t kAll = 16 * kPage;
  const std::string all = pattern(kAll, 13);
  uint64_t wanted[256] = {};
  for (char c : all) ++wanted[static_cast<uint8_t>(c)];
  std::vector<char*> buffers;
  for (int i = 0; i < 2; ++i) buffers.push_back(allocate(kAll / 2, 'x'));
  std::thread second([&] { EXPECT_EQ(receive(buffers[1], kAll / 2), static_cast<long>(kAll / 2)); });
  deliver(all);
  EXPECT_EQ(receive(buffers[0], kAll / 2), static_cast<long>(kAll / 2));
  second.join();
  for (char* p : buffers)
    for (size_t i = 0; i < kAll / 2; ++i) --wanted[static_cast<uint8_t>(p[i])];
  EXPECT_TRUE(std::all_of(std::begin(wanted), std::end(wanted), [](uint64_t n) { return n == 0; }));
  for (char* p : buffers) regions::release(p);
}

TEST_F(Swap, Property8MemoryOfAClosedSocketComesBack) {
  const timeval time{0, 20'000};
  for (int i = 0; i < 40; ++i) {  // more than a region holds
    Socket s;
    const int k = s.open(abi::kKindTcp, false, false, true);
    ASSERT_GE(k, 0);
    ASSERT_EQ(s.connect(k, make_address(0x0a090002, 80), false), 0);
    ASSERT_EQ(s.set_option(k, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time), 0);
    char* p = allocate(4 * kPage, 'x');
    ASSERT_NE(p, nullptr) << i;
    const iovec v{p, 4 * kPage};
    ReceiveRequest request;
    request.data = {&v, 1};
    request.flags = MSG_WAITALL;
    ASSERT_EQ(s.receive(k, request), -EAGAIN);
    server_.with([&] {
      abi::SocketShared& w = server_.last().shared();
      EXPECT_GT(load_acquire(w.input_produced), 0);
      store_release(w.mode, uint32_t{abi::kModeFree});  // as if the server had seen the end of it
    });
    s.close();
    ::close(k);
    regions::release(p);
  }
}

TEST_F(Swap, AServerThatNamesOtherMemoryEndsTheChannel) {
  char* p = allocate(2 * kPage, 'x');
  std::thread liar([&] {
    for (bool lent = false; !lent;) {
      std::lock_guard lock(server_.mutex);
      abi::SocketShared& w = server_.last().shared();
      if (!(lent = load_acquire(w.input_produced) != 0)) continue;
      w.rx[0] = {w.input[0].offset + 1, 100, w.input[0].region, 0};
      store_release(w.rx_produced, 1u);
      server_.signal(server_.last());
    }
  });
  EXPECT_EQ(receive(p, 2 * kPage), -ENETDOWN);
  liar.join();
  EXPECT_EQ(std::count(p, p + 2 * kPage, 'x'), static_cast<long>(2 * kPage));
  regions::release(p);
}

}  // namespace
}  // namespace ferry::client::test

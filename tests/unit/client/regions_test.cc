// Output by reference on a channel; Property1… are those of docs/testing.md. The server of these tests reads
// payload only when it is told to take it, which is later than the program has done its worst.
#include "client/regions.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>

#include "client/socket.h"
#include "fake_server.h"

namespace ferry::client::test {
namespace {

constexpr size_t kPage = abi::kHugePageSize;

class Regions : public testing::Test {
 protected:
  void SetUp() override {
    server_.send_buffer = 32 << 20;
    regions::enable();
    k_ = socket_.open(abi::kKindTcp, false, false, true);
    ASSERT_GE(k_, 0);
    ASSERT_EQ(socket_.connect(k_, make_address(0x0a090002, 80), false), 0);
    void* p = regions::allocate(kPage, false);
    if (p == nullptr) GTEST_SKIP() << "no huge pages here";
    regions::release(p);
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
  // Different bytes everywhere, so that a page in the wrong place is seen.
  static std::string pattern(size_t n, uint32_t seed) {
    std::string s(n, '\0');
    uint32_t x = seed * 2654435761u + 1;
    for (char& c : s) c = static_cast<char>((x = x * 1664525u + 1013904223u) >> 24);
    return s;
  }
  long send(const char* p, size_t n) {
    const iovec v{const_cast<char*>(p), n};
    SendRequest request;
    request.data = {&v, 1};
    return socket_.send(k_, request);
  }
  void take(bool on) {
    server_.with([&] { server_.last().take = on; });
  }
  std::string received(size_t size) {
    for (;;) {
      std::lock_guard lock(server_.mutex);
      if (server_.last().received.size() >= size) return server_.last().received;
    }
  }
  uint64_t referenced() {
    std::lock_guard lock(server_.mutex);
    return server_.last().referenced;
  }
  uint64_t copied() { return Channel::copy_counters().out; }

  FakeServer server_;
  Socket socket_;
  int k_ = -1;
};

TEST_F(Regions, Property1OutputIntegrityWhenTheBufferIsOverwritten) {
  char* p = allocate(8 << 20, 'a');
  take(false);
  ASSERT_EQ(send(p, 8 << 20), 8 << 20);
  std::memset(p, 'b', 8 << 20);
  take(true);
  EXPECT_EQ(received(8 << 20), std::string(8 << 20, 'a'));
  EXPECT_EQ(referenced(), 8u << 20);
  EXPECT_EQ(std::string(p, 8 << 20), std::string(8 << 20, 'b'));
  regions::release(p);
}

TEST_F(Regions, Property1OutputIntegrityWhenTheBufferIsFreedAndItsLikeAllocatedAgain) {
  char* p = allocate(4 << 20, 'a');
  take(false);
  ASSERT_EQ(send(p, 4 << 20), 4 << 20);
  regions::release(p);
  char* other = allocate(4 << 20, 'b');
  EXPECT_NE(other, p);
  take(true);
  EXPECT_EQ(received(4 << 20), std::string(4 << 20, 'a'));
  regions::release(other);
}

TEST_F(Regions, Property1OutputIntegrityWhenTheSocketIsClosed) {
  char* p = allocate(4 << 20, 'a');
  take(false);
  ASSERT_EQ(send(p, 4 << 20), 4 << 20);
  socket_.close();
  std::memset(p, 'b', 4 << 20);
  regions::release(p);
  char* other = allocate(4 << 20, 'c');
  take(true);
  EXPECT_EQ(received(4 << 20), std::string(4 << 20, 'a'));
  regions::release(other);
}

TEST_F(Regions, Property4EveryOffsetAndLengthIsAsCopied) {
  const std::string all = pattern(3 * kPage, 1);
  char* p = allocate(3 * kPage, 0);
  std::string expected;
  constexpr size_t kLeast = 256 * 1024;
  for (size_t offset : {size_t{0}, size_t{1}, size_t{4095}, size_t{4096}, size_t{4097}, kPage - 1, kPage, kPage + 1})
    for (size_t length : {kLeast - 1, kLeast, kLeast + 1, kPage - 1, kPage, kPage + 1, kPage + 4096, 2 * kPage - 1}) {
      if (offset + length > all.size()) continue;
      std::memcpy(p, all.data(), all.size());  // written again: some of these sends are copied, some are not
      ASSERT_EQ(send(p + offset, length), static_cast<long>(length));
      expected.append(all, offset, length);
      if (expected.size() % 3 == 0) {  // a fresh buffer now and then
        regions::release(p);
        p = allocate(3 * kPage, 0);
      }
    }
  EXPECT_EQ(received(expected.size()), expected);
  EXPECT_GT(referenced(), 0u);
  EXPECT_LT(referenced(), expected.size());
  regions::release(p);
}

TEST_F(Regions, Property5CopyAccountingOfWholePages) {
  const uint64_t before = copied(), referred = Channel::copy_counters().referenced;
  char* p = allocate(16 << 20, 'a');
  for (int i = 1; i <= 3; ++i) {
    ASSERT_EQ(send(p, 16 << 20), 16 << 20);
    received(static_cast<size_t>(i) * (16 << 20));
  }
  EXPECT_EQ(copied() - before, 0u);
  EXPECT_EQ(Channel::copy_counters().referenced - referred, 3u * (16 << 20));
  regions::release(p);
}

TEST_F(Regions, ABufferThatIsWrittenBetweenSendsIsCopied) {
  char* p = allocate(kPage, 'a');
  ASSERT_EQ(send(p, kPage), static_cast<long>(kPage));
  p[5] = 'b';
  const uint64_t before = copied();
  ASSERT_EQ(send(p, kPage), static_cast<long>(kPage));
  EXPECT_EQ(copied() - before, kPage);
  std::string expected(2 * kPage, 'a');
  expected[kPage + 5] = 'b';
  EXPECT_EQ(received(2 * kPage), expected);
  regions::release(p);
}

TEST_F(Regions, SmallSendsAndOrdinaryMemoryAreCopied) {
  char* p = allocate(kPage, 'a');
  const std::string ordinary(1 << 20, 'o');
  ASSERT_EQ(send(p, 1000), 1000);
  ASSERT_EQ(send(ordinary.data(), ordinary.size()), static_cast<long>(ordinary.size()));
  EXPECT_EQ(received(1000 + ordinary.size()), std::string(1000, 'a') + ordinary);
  EXPECT_EQ(referenced(), 0u);
  regions::release(p);
}

// What was copied pays for the first reference; pieces below the least size never are.
TEST_F(Regions, ABufferThatIsSentAgainAndAgainIsReferredTo) {
  constexpr size_t kPiece = 128 * 1024;  // half of what the server of these tests finds worth it
  char* p = allocate(kPage, 'a');
  take(false);
  for (int i = 0; i < 6; ++i) ASSERT_EQ(send(p + 100, kPiece), static_cast<long>(kPiece));
  std::memset(p, 'b', kPiece / 2);
  for (int i = 0; i < 2; ++i) ASSERT_EQ(send(p + 100, kPiece), static_cast<long>(kPiece));
  take(true);
  EXPECT_EQ(received(8 * kPiece), std::string(6 * kPiece, 'a') + std::string(kPiece / 2 - 100, 'b') + std::string(kPiece / 2 + 100, 'a') +
                                      std::string(kPiece / 2 - 100, 'b') + std::string(kPiece / 2 + 100, 'a'));
  EXPECT_EQ(referenced(), 4 * kPiece);
  char* other = allocate(kPage, 'c');
  const size_t small = ipc::control::kLeastReference - 1;
  for (int i = 1; i <= 20; ++i) {
    ASSERT_EQ(send(other, small), static_cast<long>(small));
    received(8 * kPiece + static_cast<size_t>(i) * small);
  }
  EXPECT_EQ(referenced(), 4 * kPiece);
  regions::release(p);
  regions::release(other);
}

TEST_F(Regions, Property8SafeLifetimeAllMemoryComesBack) {
  // Far more than a region holds, most of it never seen completed by a call of ours.
  for (int round = 0; round < 40; ++round) {
    char* p = allocate(6 << 20, static_cast<char>('a' + round % 26));
    ASSERT_NE(p, nullptr);
    ASSERT_EQ(send(p, 6 << 20), 6 << 20);
    regions::release(p);
  }
  EXPECT_EQ(received(40u * (6 << 20)).size(), 40u * (6 << 20));
  EXPECT_EQ(referenced(), 40u * (6 << 20));
}

TEST_F(Regions, Property8ForkWithOutputPending) {
  char* p = allocate(4 << 20, 'a');
  take(false);
  ASSERT_EQ(send(p, 4 << 20), 4 << 20);
  regions::before_fork();
  const pid_t child = fork();
  if (child == 0) {
    regions::after_fork_in_child();
    const bool good = p[0] == 'a' && p[(4 << 20) - 1] == 'a';
    std::memset(p, 'c', 4 << 20);
    regions::release(p);
    _exit(good ? 0 : 1);
  }
  regions::after_fork_in_parent();
  std::memset(p, 'b', 4 << 20);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(std::string(p, 4 << 20), std::string(4 << 20, 'b'));
  char* fresh = allocate(4 << 20, 'f');  // another region is in service
  ASSERT_EQ(send(fresh, 4 << 20), 4 << 20);
  take(true);
  EXPECT_EQ(received(8 << 20), std::string(4 << 20, 'a') + std::string(4 << 20, 'f'));
  EXPECT_EQ(referenced(), 8u << 20);
  regions::release(p);
  regions::release(fresh);
}

TEST_F(Regions, Property8PagesAreNotUsedAgainWhileAChildLives) {
  char* p = allocate(4 << 20, 'a');
  int go[2];
  ASSERT_EQ(pipe(go), 0);
  regions::before_fork();
  const pid_t child = fork();
  if (child == 0) {
    regions::after_fork_in_child();
    char byte;
    if (read(go[0], &byte, 1) != 1) _exit(2);
    _exit(std::count(p, p + (4 << 20), 'a') == 4 << 20 ? 0 : 1);
  }
  regions::after_fork_in_parent();
  regions::release(p);
  for (int i = 0; i < 5; ++i) regions::release(allocate(16 << 20, 'b'));  // of another file, perhaps at the same address
  ASSERT_EQ(write(go[1], "x", 1), 1);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  char* again = allocate(4 << 20, 'c');
  EXPECT_EQ(again, p);
  ASSERT_EQ(send(again, 4 << 20), 4 << 20);
  EXPECT_EQ(received(4 << 20), std::string(4 << 20, 'c'));
  EXPECT_EQ(referenced(), 4u << 20);
  regions::release(again);
  ::close(go[0]);
  ::close(go[1]);
}

TEST_F(Regions, AnyNumberOfForksInTurn) {
  char* kept = allocate(kPage, 'k');
  for (int i = 0; i < 40; ++i) {
    regions::before_fork();
    const pid_t child = fork();
    if (child == 0) {
      regions::after_fork_in_child();
      _exit(kept[5] == 'k' ? 0 : 1);
    }
    regions::after_fork_in_parent();
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
    char* p = allocate(kPage, 'n');
    ASSERT_NE(p, nullptr) << i;
    ASSERT_EQ(send(p, kPage), static_cast<long>(kPage));
    regions::release(p);
  }
  EXPECT_EQ(received(40 * kPage), std::string(40 * kPage, 'n'));
  EXPECT_EQ(referenced(), 40 * kPage);
  EXPECT_EQ(std::string(kept, kPage), std::string(kPage, 'k'));
  regions::release(kept);
}

TEST_F(Regions, ANewChannelIsToldOfTheRegion) {
  char* p = allocate(kPage, 'a');
  ASSERT_EQ(send(p, kPage), static_cast<long>(kPage));
  received(kPage);
  Channel::renew();
  Socket second;
  const int k = second.open(abi::kKindTcp, false, false, true);
  ASSERT_GE(k, 0);
  ASSERT_EQ(second.connect(k, make_address(0x0a090002, 80), false), 0);
  const iovec v{p, kPage};
  SendRequest request;
  request.data = {&v, 1};
  ASSERT_EQ(second.send(k, request), static_cast<long>(kPage));
  EXPECT_EQ(received(kPage), std::string(kPage, 'a'));
  EXPECT_EQ(referenced(), kPage);
  second.close();
  ::close(k);
  regions::release(p);
}

TEST_F(Regions, WhatTheServerDoesNotTakeIsCopied) {
  server_.with([&] { server_.region_bytes = 0; });
  char* p = allocate(kPage, 'a');
  const auto requests = [&] {
    std::lock_guard lock(server_.mutex);
    return server_.requests.size();
  };
  const size_t asked = requests();
  ASSERT_EQ(send(p, kPage), static_cast<long>(kPage));
  EXPECT_EQ(requests(), asked + 1);
  ASSERT_EQ(send(p, kPage), static_cast<long>(kPage));
  EXPECT_EQ(requests(), asked + 1);  // it is not asked again and again
  EXPECT_EQ(received(2 * kPage), std::string(2 * kPage, 'a'));
  EXPECT_EQ(regions::allocate(kPage, false), nullptr);
  regions::release(p);
  regions::enable();
}

TEST_F(Regions, DisabledRegionsKeepTheirMemory) {
  char* p = allocate(kPage, 'a');
  regions::disable("a test says so");
  EXPECT_EQ(regions::allocate(kPage, false), nullptr);
  ASSERT_EQ(send(p, kPage), static_cast<long>(kPage));
  EXPECT_EQ(received(kPage), std::string(kPage, 'a'));
  EXPECT_EQ(referenced(), 0u);
  p[0] = 'b';
  regions::release(p);
  regions::enable();
}

TEST_F(Regions, BoundsOfTheAddressSpace) {
  char* p = allocate(kPage, 'a');
  char local;
  EXPECT_TRUE(regions::contains(p));
  EXPECT_FALSE(regions::contains(&local));
  EXPECT_FALSE(regions::contains(nullptr));
  EXPECT_TRUE(regions::overlaps(p, 1));
  EXPECT_FALSE(regions::overlaps(&local, 1));
  EXPECT_FALSE(regions::overlaps(p, 0));
  EXPECT_TRUE(regions::overlaps(regions::g_begin - 4096, 8192));
  EXPECT_FALSE(regions::overlaps(regions::g_begin - 4096, 4096));
  EXPECT_FALSE(regions::overlaps(regions::g_begin + regions::g_size, 4096));
  regions::release(p);
}

}  // namespace
}  // namespace ferry::client::test

// A region by itself: memory of the program's that behaves like any other, and a memfd that keeps what was referred to.
#include "client/region.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace ferry::client {
namespace {

constexpr size_t kPage = Region::kPage;
constexpr size_t kSmall = 4096;

class RegionTest : public testing::Test {
 protected:
  void SetUp() override {
    void* p = mmap(nullptr, kSize + kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT_NE(p, MAP_FAILED);
    base_ = reinterpret_cast<std::byte*>((reinterpret_cast<uintptr_t>(p) + kPage - 1) / kPage * kPage);
    ASSERT_TRUE(region_.open(base_, kSize).ok());
    view_fd_ = dup(region_.memfd());
    view_ = static_cast<const char*>(mmap(nullptr, kSize, PROT_READ, MAP_SHARED, view_fd_, 0));
    pagemap_ = ::open("/proc/self/pagemap", O_RDONLY);
    char* p0 = allocate(1);
    if (p0 == nullptr) GTEST_SKIP() << "no huge pages here";
    region_.release(reinterpret_cast<std::byte*>(p0));
  }
  void TearDown() override {
    if (region_.is_open()) region_.close();
    ::close(pagemap_);
    ::close(view_fd_);
  }
  char* allocate(size_t pages, bool zeroed = false) {
    bool busy = false;
    return reinterpret_cast<char*>(region_.allocate(pages, zeroed, busy));
  }
  void release(char* p) { region_.release(reinterpret_cast<std::byte*>(p)); }
  size_t refer(const char* p, size_t n) {
    return region_.refer(reinterpret_cast<const std::byte*>(p), n, n, least_, WrittenPages(pagemap_));
  }
  void unrefer(const char* p) { region_.unrefer(region_.offset_of(reinterpret_cast<const std::byte*>(p))); }
  // What the server sees of it.
  const char* seen(const char* p) const { return view_ + (p - reinterpret_cast<const char*>(base_)); }
  // Small pages of [p, p + n) that are the program's alone.
  size_t copies(const char* p, size_t n) const {
    size_t count = 0;
    for (size_t at = 0; at < n; at += kSmall) count += WrittenPages(pagemap_).any(reinterpret_cast<const std::byte*>(p + at), 1);
    return count;
  }

  static constexpr size_t kSize = 80 * kPage;
  std::byte* base_ = nullptr;
  Region region_;
  int view_fd_ = -1, pagemap_ = -1;
  size_t least_ = 0;  // of refer()
  const char* view_ = nullptr;
};

TEST_F(RegionTest, FreshMemoryIsZeroAlignedAndTheProgramsOwn) {
  char* p = allocate(3, true);
  ASSERT_NE(p, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % kPage, 0u);
  EXPECT_EQ(std::string(p, 3 * kPage), std::string(3 * kPage, '\0'));
  EXPECT_EQ(region_.size_at(reinterpret_cast<std::byte*>(p)), 3 * kPage);
  std::memset(p, 'x', 3 * kPage);
  release(p);
  char* again = allocate(3, true);
  EXPECT_EQ(again, p);
  EXPECT_EQ(std::string(again, 3 * kPage), std::string(3 * kPage, '\0'));
}

TEST_F(RegionTest, ItEndsWhenItIsFull) {
  EXPECT_EQ(allocate(kSize / kPage + 1), nullptr);
  char* all = allocate(kSize / kPage);
  ASSERT_NE(all, nullptr);
  EXPECT_EQ(allocate(1), nullptr);
  release(all);
  EXPECT_NE(allocate(1), nullptr);
}

TEST_F(RegionTest, WhatWasReferredToStaysAndTheProgramWritesOn) {
  char* p = allocate(2);
  std::memset(p, 'a', 2 * kPage);
  ASSERT_EQ(refer(p + 100, kPage), kPage - 100);  // as far as the huge page
  ASSERT_EQ(refer(p + kPage, 100), 100u);
  std::memset(p, 'b', 2 * kPage);
  EXPECT_EQ(std::string(p, 2 * kPage), std::string(2 * kPage, 'b'));
  EXPECT_EQ(std::string(seen(p), 2 * kPage), std::string(2 * kPage, 'a'));
}

// One small page is copied per page touched, none if none is.
TEST_F(RegionTest, Property2TransienceOnlyTouchedPagesAreCopied) {
  char* p = allocate(2);
  std::memset(p, 'a', 2 * kPage);
  ASSERT_GT(refer(p, 2 * kPage), 0u);
  EXPECT_EQ(copies(p, 2 * kPage), 0u);
  p[0] = p[5] = 'b';
  p[7 * kSmall + 9] = 'c';
  p[kPage - 1] = 'd';
  EXPECT_EQ(copies(p, 2 * kPage), 3u);
  EXPECT_EQ(p[1], 'a');
  EXPECT_EQ(std::string(seen(p), kPage), std::string(kPage, 'a'));
}

TEST_F(RegionTest, UnwrittenMemoryIsReferredToAgainAndWrittenMemoryIsNot) {
  char* p = allocate(2);
  std::memset(p, 'a', 2 * kPage);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(refer(p, kPage), kPage);
    EXPECT_EQ(refer(p + kPage, kPage), kPage);
  }
  p[kPage + 3] = 'b';
  EXPECT_EQ(refer(p, kPage), kPage);
  EXPECT_EQ(refer(p + kPage, kPage), 0u);
  EXPECT_EQ(refer(p + kPage, kPage), 0u);
}

// Until what was copied from it would have paid for it, or as much is sent at once.
TEST_F(RegionTest, APageIsLentWhenItPays) {
  least_ = 300'000;
  char* p = allocate(3);
  const auto copy = [&](char* at, size_t n) { region_.count_copied(reinterpret_cast<std::byte*>(at), n); };
  EXPECT_EQ(refer(p, 100'000), 0u);
  EXPECT_EQ(refer(p, 100'000), 0u) << "asking does not pay";
  copy(p, 199'999);
  copy(p + kPage - 100'000, 199'999);  // beyond, 99,999 of them in the next page
  EXPECT_EQ(refer(p, 100'000), 0u);
  copy(p + kPage - 1, 1);
  EXPECT_EQ(refer(p, 100'000), 100'000u);
  EXPECT_EQ(refer(p + kPage, 100'000), 0u) << "its neighbour is counted by itself";
  EXPECT_EQ(refer(p + kPage + 1, 300'000), 300'000u);
  EXPECT_EQ(refer(p + kPage + 1, 1), 1u) << "it is ready";
  for (int i = 0; i < 2100; ++i) copy(p + 2 * kPage, kPage);
  least_ = size_t{1} << 30;
  EXPECT_EQ(refer(p + 2 * kPage, 1), 1u) << "counting ends, it does not begin anew";
  release(p);
  least_ = 300'000;
  for (char* at : {p, p + kPage, p + kPage, p + 2 * kPage}) unrefer(at);
  ASSERT_EQ(allocate(1), p);
  EXPECT_EQ(refer(p, 100'000), 0u) << "what it paid was for what had been there";
}

TEST_F(RegionTest, WithoutPagemapMemoryIsReferredToOnce) {
  char* p = allocate(1);
  EXPECT_EQ(region_.refer(reinterpret_cast<std::byte*>(p), 100, 100, 0, WrittenPages(-1)), 100u);
  EXPECT_EQ(region_.refer(reinterpret_cast<std::byte*>(p), 100, 100, 0, WrittenPages(-1)), 0u);
}

TEST_F(RegionTest, Property8MemoryIsNotUsedAgainWhileItIsReferredTo) {
  char* p = allocate(1);
  std::memset(p, 'a', kPage);
  ASSERT_EQ(refer(p, kPage), kPage);
  ASSERT_EQ(refer(p, 10), 10u);
  release(p);
  char* other = allocate(1);
  ASSERT_NE(other, p);
  std::memset(other, 'b', kPage);
  EXPECT_EQ(std::string(seen(p), kPage), std::string(kPage, 'a'));
  unrefer(p);
  EXPECT_NE(allocate(1), p);
  EXPECT_FALSE(region_.is_idle());
  unrefer(p);
  EXPECT_EQ(allocate(1), p);
}

// The kernel writes as well: read(2) into memory that is being sent.
TEST_F(RegionTest, ReadIntoWhatIsReferredTo) {
  char* p = allocate(1);
  std::memset(p, 'a', kPage);
  ASSERT_EQ(refer(p, kPage), kPage);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_EQ(write(ends[1], "kernel", 6), 6);
  ASSERT_EQ(read(ends[0], p + kSmall - 3, 6), 6);
  EXPECT_EQ(std::string(p + kSmall - 4, 8), "akernela");
  EXPECT_EQ(std::string(seen(p), kPage), std::string(kPage, 'a'));
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_F(RegionTest, AThreadThatWritesMeanwhileLosesNothing) {
  char* p = allocate(8);
  std::memset(p, 0, 8 * kPage);
  auto* words = reinterpret_cast<std::atomic<uint64_t>*>(p);
  const size_t count = 8 * kPage / sizeof(uint64_t);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> rounds{0};
  std::thread writer([&] {
    for (; !stop; ++rounds)
      for (size_t i = 0; i < count; i += 509) words[i].fetch_add(1);
  });
  for (size_t i = 0; i < 8; ++i) {
    for (const uint64_t before = rounds; rounds == before;) std::this_thread::yield();
    EXPECT_GT(refer(p + i * kPage, kPage), 0u);
  }
  stop = true;
  writer.join();
  for (size_t i = 0; i < count; i += 509) ASSERT_EQ(words[i].load(), rounds) << i;
}

TEST_F(RegionTest, FreeMemoryBeyondABoundIsGivenBack) {
  constexpr size_t kPages = Region::kKept / kPage + 8;
  char* p = allocate(kPages);
  struct stat status;
  ASSERT_EQ(fstat(view_fd_, &status), 0);
  EXPECT_GE(static_cast<size_t>(status.st_blocks) * 512, kPages * kPage);
  release(p);
  ASSERT_EQ(fstat(view_fd_, &status), 0);
  EXPECT_LE(static_cast<size_t>(status.st_blocks) * 512, Region::kKept);
}

TEST_F(RegionTest, ARetiredRegionIsolatesParentAndChild) {
  char* p = allocate(2);
  std::memset(p, 'a', 2 * kPage);
  ASSERT_EQ(refer(p, 100), 100u);
  region_.retire();
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    char byte;
    std::memset(p, 'c', kPage + 1);
    if (read(ends[0], &byte, 1) != 1) _exit(2);
    _exit(p[kPage] == 'c' && p[kPage + 1] == 'a' && p[2 * kPage - 1] == 'a' ? 0 : 1);
  }
  std::memset(p + kPage, 'p', kPage);
  ASSERT_EQ(write(ends[1], "x", 1), 1);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(std::string(p, kPage), std::string(kPage, 'a'));
  EXPECT_EQ(std::string(p + kPage, kPage), std::string(kPage, 'p'));
  EXPECT_EQ(std::string(seen(p), 2 * kPage), std::string(2 * kPage, 'a'));
  EXPECT_EQ(refer(p, 100), 0u);
  EXPECT_EQ(allocate(1), nullptr);
  release(p);
  EXPECT_FALSE(region_.is_idle());
  unrefer(p);
  EXPECT_TRUE(region_.is_idle());
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_F(RegionTest, AnExposedRegionKeepsItsPagesUntilItIsResumed) {
  constexpr size_t kPages = Region::kKept / kPage + 8;
  char* p = allocate(kPages);
  std::memset(p, 'a', kPages * kPage);
  region_.expose();
  release(p);
  EXPECT_EQ(allocate(1), nullptr);
  EXPECT_EQ(std::string(seen(p), kPages * kPage), std::string(kPages * kPage, 'a'));
  region_.resume();
  struct stat status;
  ASSERT_EQ(fstat(view_fd_, &status), 0);
  EXPECT_LE(static_cast<size_t>(status.st_blocks) * 512, Region::kKept);
  char* again = allocate(1);
  ASSERT_EQ(again, p);
  EXPECT_EQ(refer(again, 10), 10u);
}

class RegionSwap : public RegionTest {
 protected:
  std::byte* lend(size_t& count) {
    region_.stock_input(count);
    return region_.allocate_input(count);
  }
  bool swap(char* p, std::byte* input, size_t count) { return region_.swap(reinterpret_cast<std::byte*>(p), input, count); }
  bool can_swap(const char* p) const { return region_.can_swap(reinterpret_cast<const std::byte*>(p)); }
  // What the server sees at a byte of the program's.
  const char* seen_now(const void* p) const { return view_ + region_.offset_of(static_cast<const std::byte*>(p)); }
};

TEST_F(RegionSwap, PagesChangePlaces) {
  char* p = allocate(4);
  std::memset(p, 'p', 4 * kPage);
  size_t count = 2;
  std::byte* input = lend(count);
  ASSERT_EQ(count, 2u);
  char* filled = const_cast<char*>(seen_now(input));
  ASSERT_EQ(seen_now(input + kPage), filled + kPage);  // in a row for the server, too
  std::memset(input, 'i', 2 * kPage);
  ASSERT_TRUE(swap(p + kPage, input, 2));
  EXPECT_EQ(std::string(p, 4 * kPage), std::string(kPage, 'p') + std::string(2 * kPage, 'i') + std::string(kPage, 'p'));
  EXPECT_EQ(seen_now(p + kPage), filled);
  p[kPage] = 'w';
  EXPECT_EQ(*filled, 'w');  // the program's, and no copy
  EXPECT_EQ(refer(p + kPage, kPage), kPage);
  p[kPage] = 'x';
  EXPECT_EQ(*filled, 'w');
  unrefer(p + kPage);
  release(p);
  EXPECT_TRUE(region_.is_idle());
  char* zero = allocate(4, true);
  EXPECT_EQ(std::string(zero, 4 * kPage), std::string(4 * kPage, '\0'));
}

TEST_F(RegionSwap, APageThatIsReferredToIsNotLentWhenItWasExchanged) {
  char* p = allocate(1);
  std::memset(p, 'p', kPage);
  const char* sent = seen_now(p);
  const uint64_t where = region_.offset_of(reinterpret_cast<std::byte*>(p));
  ASSERT_EQ(refer(p, kPage), kPage);
  size_t count = 1;
  std::byte* input = lend(count);
  ASSERT_TRUE(swap(p, input, 1));
  for (int i = 0; i < 3; ++i) {
    size_t other = 1;
    std::byte* next = lend(other);
    ASSERT_NE(next, nullptr);
    EXPECT_NE(seen_now(next), sent);
    std::memset(next, 'n', kPage);
    ASSERT_TRUE(swap(p, next, 1));
  }
  EXPECT_EQ(std::string(sent, kPage), std::string(kPage, 'p'));
  release(p);
  EXPECT_FALSE(region_.is_idle());
  region_.unrefer(where);
  EXPECT_TRUE(region_.is_idle());
}

TEST_F(RegionSwap, WhatIsWrittenApartIsOwnedAgain) {
  char* p = allocate(1);
  ASSERT_EQ(refer(p, kPage), kPage);
  p[7] = 'w';
  ASSERT_EQ(refer(p, kPage), 0u);
  size_t count = 1;
  std::byte* input = lend(count);
  EXPECT_TRUE(can_swap(p));
  ASSERT_TRUE(swap(p, input, 1));
  EXPECT_EQ(refer(p, kPage), kPage);
}

TEST_F(RegionSwap, OnlyWhatIsTheRegionsAloneIsExchanged) {
  char* p = allocate(6);
  EXPECT_TRUE(can_swap(p));
  region_.set_apart(reinterpret_cast<std::byte*>(p), 1);
  region_.unmap(reinterpret_cast<std::byte*>(p + kPage + kSmall), kSmall);
  region_.clear(reinterpret_cast<std::byte*>(p + 2 * kPage), kSmall);
  region_.lend_address_space(reinterpret_cast<std::byte*>(p + 3 * kPage), kSmall);
  for (size_t i : {0, 1, 3}) EXPECT_FALSE(can_swap(p + i * kPage)) << i;
  EXPECT_TRUE(can_swap(p + 2 * kPage)) << "cleared in part, but the region's";
  EXPECT_TRUE(can_swap(p + 4 * kPage));
  EXPECT_FALSE(can_swap(p + 6 * kPage));  // nobody's
  region_.expose();
  EXPECT_FALSE(can_swap(p + 4 * kPage));
  size_t count = 1;
  EXPECT_EQ(region_.allocate_input(count), nullptr);
  region_.resume();
  EXPECT_TRUE(can_swap(p + 4 * kPage));
  EXPECT_FALSE(can_swap(p));
}

TEST_F(RegionSwap, AChildDoesNotHaveWhatIsLent) {
  char* p = allocate(1);
  size_t count = 2;
  std::byte* input = lend(count);
  ASSERT_EQ(count, 2u);
  region_.expose();
  const pid_t child = fork();
  if (child == 0) {
    unsigned char present[2 * kPage / kSmall];
    const bool mapped = mincore(input, 2 * kPage, present) == 0;
    region_.forget_references();
    const bool reserved = mincore(input, 2 * kPage, present) == 0;
    _exit(!mapped && reserved ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  region_.release_input(input, count);
  release(p);
  EXPECT_TRUE(region_.is_idle());
}

TEST_F(RegionSwap, ExchangedPagesAreGivenBackLikeOthers) {
  constexpr size_t kPages = Region::kKept / kPage;
  char* p = allocate(kPages);
  for (size_t i = 0; i < kPages; i += 3) {
    size_t count = 1;
    std::byte* input = lend(count);
    ASSERT_NE(input, nullptr);
    std::memset(input, static_cast<int>('a' + i % 26), kPage);
    ASSERT_TRUE(swap(p + i * kPage, input, 1));
  }
  for (size_t i = 0; i < kPages; i += 3) ASSERT_EQ(std::string(p + i * kPage, kPage), std::string(kPage, static_cast<char>('a' + i % 26)));
  release(p);
  EXPECT_TRUE(region_.is_idle());
  struct stat status;
  ASSERT_EQ(fstat(view_fd_, &status), 0);
  EXPECT_LE(static_cast<size_t>(status.st_blocks) * 512, Region::kKept);
  p = allocate(kSize / kPage);
  ASSERT_NE(p, nullptr);
  for (size_t i = 0; i < kSize / kPage; ++i) p[i * kPage] = static_cast<char>(i);
  for (size_t i = 0; i < kSize / kPage; ++i) ASSERT_EQ(p[i * kPage], static_cast<char>(i));
}

// Another process's pages in place of the program's.
class RegionAdopt : public RegionTest {
 protected:
  struct Holds final : HoldOwner {
    std::vector<uint64_t> ended;
    void end_hold(uint64_t hold) override { ended.push_back(hold); }
  };
  void SetUp() override {
    RegionTest::SetUp();
    if (IsSkipped()) return;
    other_ = ::memfd_create("other", MFD_CLOEXEC);
    ASSERT_EQ(ftruncate(other_, 4 * kPage), 0);
    theirs_ = static_cast<char*>(mmap(nullptr, 4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, other_, 0));
    for (size_t i = 0; i < 4; ++i) std::memset(theirs_ + i * kPage, static_cast<int>('A' + i), kPage);
  }
  void TearDown() override {
    RegionTest::TearDown();
    munmap(theirs_, 4 * kPage);
    ::close(other_);
  }
  bool adopt(char* p, uint64_t page) { return region_.adopt(reinterpret_cast<std::byte*>(p), {other_, page * kPage, &holds_, page}); }
  static std::byte* bytes(char* p) { return reinterpret_cast<std::byte*>(p); }
  bool written(char* p) const { return region_.is_written(reinterpret_cast<std::byte*>(p), WrittenPages(pagemap_)); }
  using Ended = std::vector<uint64_t>;

  Holds holds_;
  int other_ = -1;
  char* theirs_ = nullptr;
};

TEST_F(RegionAdopt, ThePageIsTheProgramsToWriteAndTheWritersStaysAsItIs) {
  char* p = allocate(3);
  std::memset(p, 'p', 3 * kPage);
  ASSERT_TRUE(adopt(p + kPage, 2));
  EXPECT_EQ(std::string(p, 3 * kPage), std::string(kPage, 'p') + std::string(kPage, 'C') + std::string(kPage, 'p'));
  EXPECT_FALSE(written(p + kPage));
  p[kPage + 5] = 'w';
  EXPECT_TRUE(written(p + kPage));
  EXPECT_FALSE(written(p));
  EXPECT_EQ(std::string(theirs_ + 2 * kPage, kPage), std::string(kPage, 'C'));
  EXPECT_EQ(refer(p + kPage, kPage), 0u);  // output of it is copied
  EXPECT_EQ(holds_.ended, Ended{});
  release(p);
  EXPECT_EQ(holds_.ended, Ended{2});
  EXPECT_TRUE(region_.is_idle());
  char* again = allocate(3, true);
  EXPECT_EQ(std::string(again, 3 * kPage), std::string(3 * kPage, '\0'));
}

TEST_F(RegionAdopt, EachWayOfGettingRidOfThePageEndsItsHold) {
  char* p = allocate(4);
  for (size_t i = 0; i < 4; ++i) ASSERT_TRUE(adopt(p + i * kPage, i));
  ASSERT_TRUE(adopt(p, 3));
  EXPECT_EQ(holds_.ended, Ended{0});
  region_.stock_input(1);
  size_t count = 1;
  std::byte* input = region_.allocate_input(count);
  ASSERT_NE(input, nullptr);
  std::memset(input, 'i', kPage);
  ASSERT_TRUE(region_.swap(bytes(p + kPage), input, 1));
  EXPECT_EQ(holds_.ended, (Ended{0, 1}));
  EXPECT_EQ(refer(p + kPage, kPage), kPage);
  unrefer(p + kPage);
  region_.clear(bytes(p + 2 * kPage), kPage);
  EXPECT_EQ(holds_.ended, (Ended{0, 1, 2}));
  EXPECT_EQ(std::string(p + 2 * kPage, kPage), std::string(kPage, '\0'));
  region_.unmap(bytes(p + 3 * kPage), kPage);
  EXPECT_EQ(holds_.ended, (Ended{0, 1, 2, 3}));
  release(p);
  EXPECT_EQ(holds_.ended, (Ended{0, 1, 2, 3, 3}));
}

// Memory that the program protects, unmaps in part or shares with a child does not depend on the writer any more.
TEST_F(RegionAdopt, WhatIsTreatedOrExposedBecomesTheProcesssOwn) {
  char* p = allocate(4);
  for (size_t i = 0; i < 4; ++i) ASSERT_TRUE(adopt(p + i * kPage, i));
  region_.set_apart(bytes(p), 1);
  EXPECT_EQ(holds_.ended, Ended{0});
  region_.unmap(bytes(p + kPage), kSmall);
  EXPECT_EQ(holds_.ended, (Ended{0, 1}));
  region_.clear(bytes(p + 2 * kPage), kSmall);
  region_.expose();
  EXPECT_EQ(holds_.ended, (Ended{0, 1, 2, 3}));
  std::memset(theirs_, 'x', 4 * kPage);
  EXPECT_EQ(std::string(p, kPage), std::string(kPage, 'A'));
  EXPECT_EQ(std::string(p + kPage + kSmall, kPage - kSmall), std::string(kPage - kSmall, 'B'));
  EXPECT_EQ(std::string(p + 2 * kPage, kPage), std::string(kSmall, '\0') + std::string(kPage - kSmall, 'C'));
  EXPECT_EQ(std::string(p + 3 * kPage, kPage), std::string(kPage, 'D'));
  region_.resume();
  EXPECT_EQ(std::string(p, kPage), std::string(kPage, 'A'));
  release(p);
  EXPECT_EQ(holds_.ended.size(), 4u);
}

TEST_F(RegionAdopt, AThreadThatWritesWhileItBecomesOwnLosesNothing) {
  char* p = allocate(1);
  for (int round = 0; round < 20; ++round) {
    ASSERT_TRUE(adopt(p, 0));
    std::atomic<bool> begun{false}, stop{false};
    uint32_t last = 0;
    std::thread writer([&] {
      for (; last == 0 || !stop; begun = true) {
        ++last;
        for (size_t at = 0; at < kPage; at += 16 * kSmall) std::memcpy(p + at, &last, sizeof last);
      }
    });
    while (round % 2 == 0 && !begun) std::this_thread::yield();
    region_.set_apart(bytes(p), 1);
    stop = true;
    writer.join();
    for (size_t at = 0; at < kPage; at += 16 * kSmall) ASSERT_EQ(std::memcmp(p + at, &last, sizeof last), 0) << at;
    release(p);
    p = allocate(1);
  }
}

TEST_F(RegionAdopt, APageThatCannotBeMappedChangesNothing) {
  char* p = allocate(1);
  std::memset(p, 'p', kPage);
  ASSERT_TRUE(adopt(p, 1));
  EXPECT_FALSE(region_.adopt(bytes(p), {-1, 0, &holds_, 7}));
  EXPECT_EQ(std::string(p, kPage), std::string(kPage, 'B'));
  EXPECT_EQ(holds_.ended, Ended{});
}

TEST_F(RegionTest, BadLengthsOfTheProgramStayInside) {
  char* p = allocate(kSize / kPage);
  EXPECT_EQ(refer(p + kSize - 10, size_t{1} << 40), 10u);
}

// An allocator that gives back what it does not use by MADV_DONTNEED, and uses it again.
TEST_F(RegionTest, ClearedPagesAreZeroAndCanBeReferredToAgain) {
  char* p = allocate(3);
  std::memset(p, 'a', 3 * kPage);
  ASSERT_EQ(refer(p, kPage), kPage);
  unrefer(p);
  p[5] = 'b';  // a copy: the page was lent
  region_.clear(reinterpret_cast<std::byte*>(p), 3 * kPage);
  EXPECT_EQ(std::count(p, p + 3 * kPage, 0), static_cast<std::ptrdiff_t>(3 * kPage));
  std::memset(p, 'c', 3 * kPage);
  ASSERT_EQ(refer(p, kPage), kPage);
  EXPECT_EQ(seen(p)[5], 'c');
  unrefer(p);
  release(p);
  char* again = allocate(3, true);
  ASSERT_EQ(again, p);
  EXPECT_EQ(std::count(again, again + 3 * kPage, 0), static_cast<std::ptrdiff_t>(3 * kPage));
  release(again);
}

TEST_F(RegionTest, ClearingKeepsWhatOutputRefersToAndWhatThePageHasBesides) {
  char* p = allocate(3);
  std::memset(p, 'a', 3 * kPage);
  ASSERT_EQ(refer(p + kPage, kPage), kPage);
  region_.clear(reinterpret_cast<std::byte*>(p + 100 * kSmall), 2 * kPage);  // part of the first, the second, part of the third
  EXPECT_EQ(p[100 * kSmall - 1], 'a');
  EXPECT_EQ(p[100 * kSmall], 0);
  EXPECT_EQ(p[2 * kPage + 100 * kSmall - 1], 0);
  EXPECT_EQ(p[2 * kPage + 100 * kSmall], 'a');
  EXPECT_EQ(p[kPage], 0);
  EXPECT_EQ(seen(p + kPage)[0], 'a') << "not sent yet";
  unrefer(p + kPage);
  region_.clear(reinterpret_cast<std::byte*>(p), 3 * kPage);
  std::memset(p, 'd', 3 * kPage);
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(refer(p + i * kPage, kPage), kPage) << i;
    unrefer(p + i * kPage);
  }
  release(p);
}

TEST_F(RegionTest, APageThatTheProgramProtectsIsNotMadeNew) {
  char* p = allocate(1);
  region_.set_apart(reinterpret_cast<std::byte*>(p), kPage);
  std::memset(p, 'a', kPage);
  region_.clear(reinterpret_cast<std::byte*>(p), kPage);
  EXPECT_EQ(p[7], 0);
  EXPECT_EQ(refer(p, kPage), 0u);
  release(p);
}

}  // namespace
}  // namespace ferry::client

// A region by itself: memory of the program's that behaves like any other, and a memfd that keeps what was referred to.
// Not here: exchanged pages (region_swap_test.cc) and those of other processes (region_adopt_test.cc).
#include "client/region.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>
#include <thread>

#include "region_fixture.h"

namespace ferry::client {
namespace {

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

// Region::swap: pages that were lent for input change places with the program's. What a channel does with it is swap_test.cc's.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "client/region.h"
#include "region_fixture.h"

namespace ferry::client {
namespace {

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

}  // namespace
}  // namespace ferry::client

// The way back of a region's pages that were lent to output: owned again when it is complete.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <string>

#include "region_fixture.h"

namespace ferry::client {
namespace {

class RegainTest : public RegionTest {
 protected:
  void regain() { region_.regain(least_, WrittenPages(pagemap_)); }
  // `pages` huge pages of the letter, all of them sent, and that output complete.
  char* sent(size_t pages, char letter) {
    char* p = allocate(pages);
    std::memset(p, letter, pages * kPage);
    for (size_t i = 0; i < pages; ++i) EXPECT_EQ(refer(p + i * kPage, kPage), kPage);
    return p;
  }
  void complete(const char* p, size_t pages) {
    for (size_t i = 0; i < pages; ++i) unrefer(p + i * kPage);
  }
};

TEST_F(RegainTest, Property2TransienceAfterCompletionNothingIsCopied) {
  char* p = sent(3, 'a');
  EXPECT_FALSE(region_.has_returned());
  complete(p, 3);
  EXPECT_TRUE(region_.has_returned());
  regain();
  EXPECT_FALSE(region_.has_returned());
  std::memset(p, 'b', 3 * kPage);
  EXPECT_EQ(copies(p, 3 * kPage), 0u);
  EXPECT_EQ(std::string(seen(p), 3 * kPage), std::string(3 * kPage, 'b')) << "it is the memfd's memory again";
  EXPECT_EQ(refer(p, kPage), kPage) << "and can be referred to";
  std::memset(p, 'c', kPage);
  EXPECT_EQ(std::string(seen(p), kPage), std::string(kPage, 'b'));
}

TEST_F(RegainTest, Property2TransienceWhilePendingWritesAreCopied) {
  char* p = sent(2, 'a');
  complete(p, 1);
  regain();
  std::memset(p, 'b', 2 * kPage);
  EXPECT_EQ(copies(p, kPage), 0u);
  EXPECT_EQ(copies(p + kPage, kPage), kPage / kSmall);
  EXPECT_EQ(std::string(seen(p) + kPage, kPage), std::string(kPage, 'a'));
}

// As long as one piece of output refers to it, the page is lent.
TEST_F(RegainTest, TheLastReferenceCounts) {
  char* p = sent(2, 'a');
  ASSERT_EQ(refer(p + 100, 1000), 1000u);
  complete(p, 2);
  regain();
  p[0] = 'b';
  EXPECT_EQ(copies(p, kPage), 1u);
  EXPECT_EQ(seen(p)[0], 'a');
  unrefer(p + 100);
  regain();
  EXPECT_EQ(copies(p, kPage), 0u);
  EXPECT_EQ(seen(p)[0], 'b');
}

TEST_F(RegainTest, ALittleThatWasWrittenIsPutBack) {
  char* p = sent(3, 'a');
  for (size_t i = 0; i < Region::kMostPutBack; ++i) p[kPage + i * 7 * kSmall + i] = 'b';
  complete(p, 3);
  regain();
  EXPECT_EQ(copies(p, 3 * kPage), 0u);
  std::string expected(3 * kPage, 'a');
  for (size_t i = 0; i < Region::kMostPutBack; ++i) expected[kPage + i * 7 * kSmall + i] = 'b';
  EXPECT_EQ(std::string(p, 3 * kPage), expected);
  EXPECT_EQ(std::string(seen(p), 3 * kPage), expected);
}

// The way back costs as much as copying some output: until that much was referred to, it is not taken.
TEST_F(RegainTest, ItHasToPay) {
  least_ = 300'000;
  char* p = allocate(1);
  std::memset(p, 'a', kPage);
  region_.count_copied(reinterpret_cast<std::byte*>(p), least_);
  for (size_t referred = 0; referred < least_; referred += 100'000) {
    regain();
    EXPECT_EQ(seen(p)[0], 'a');
    ASSERT_EQ(refer(p, 100'000), 100'000u) << "unwritten, it is referred to again";
    unrefer(p);
  }
  regain();
  p[0] = 'b';
  EXPECT_EQ(seen(p)[0], 'b');
  EXPECT_EQ(refer(p, 100'000), 100'000u) << "what it has paid for is ready";
  unrefer(p);
  regain();
  p[0] = 'c';
  EXPECT_EQ(seen(p)[0], 'b') << "each time anew";
}

// A buffer that is overwritten while it is sent turns back to copying.
TEST_F(RegainTest, MuchThatWasWrittenStaysApart) {
  char* p = sent(3, 'a');
  for (size_t i = 0; i <= Region::kMostPutBack; ++i) p[kPage + i * kSmall] = 'b';
  complete(p, 3);
  regain();
  EXPECT_EQ(copies(p, kPage), 0u);
  EXPECT_EQ(copies(p + kPage, kPage), Region::kMostPutBack + 1);
  EXPECT_EQ(refer(p + kPage, kPage), 0u);
  EXPECT_EQ(refer(p + 2 * kPage, kPage), kPage);
  EXPECT_EQ(p[kPage], 'b');
  EXPECT_EQ(p[kPage + 1], 'a');
  EXPECT_EQ(seen(p)[kPage], 'a');
}

TEST_F(RegainTest, WhatCannotBeToldStaysApart) {
  char* p = sent(1, 'a');
  complete(p, 1);
  region_.regain(0, WrittenPages(-1));
  p[0] = 'b';
  EXPECT_EQ(seen(p)[0], 'a');
  EXPECT_EQ(refer(p, kPage), 0u);
}

// What is not plain memory of the program's own any more stays what it is.
TEST_F(RegainTest, ReleasedTreatedAndExposedMemoryIsLeftAlone) {
  char* p = sent(3, 'a');
  region_.set_apart(reinterpret_cast<std::byte*>(p), 1);
  region_.unmap(reinterpret_cast<std::byte*>(p + kPage), kSmall);
  complete(p, 2);
  regain();
  p[0] = p[kPage + kSmall] = 'b';
  EXPECT_EQ(seen(p)[0], 'a');
  EXPECT_EQ(seen(p)[kPage + kSmall], 'a');
  region_.expose();
  unrefer(p + 2 * kPage);
  regain();
  region_.resume();
  regain();
  p[2 * kPage] = 'b';
  EXPECT_EQ(seen(p)[2 * kPage], 'a') << "a child may have it mapped";
}

// Pages that have changed places are each one's own.
TEST_F(RegainTest, ExchangedPagesComeBackToWhereTheyAre) {
  char* p = sent(2, 'a');
  size_t count = 1;
  region_.stock_input(1);
  std::byte* input = region_.allocate_input(count);
  ASSERT_NE(input, nullptr);
  std::memset(input, 'i', kPage);
  const uint64_t before = region_.offset_of(reinterpret_cast<std::byte*>(p));
  ASSERT_TRUE(region_.swap(reinterpret_cast<std::byte*>(p), input, 1));
  region_.unrefer(before);
  unrefer(p + kPage);
  regain();
  EXPECT_EQ(std::string(p, 2 * kPage), std::string(kPage, 'i') + std::string(kPage, 'a'));
  p[0] = p[kPage] = 'b';
  EXPECT_EQ(copies(p, 2 * kPage), 0u);
  ASSERT_EQ(refer(p, 2 * kPage), kPage);
  ASSERT_EQ(refer(p + kPage, kPage), kPage);
  EXPECT_EQ(view_[region_.offset_of(reinterpret_cast<std::byte*>(p))], 'b');
  EXPECT_EQ(view_[region_.offset_of(reinterpret_cast<std::byte*>(p + kPage))], 'b');
}

}  // namespace
}  // namespace ferry::client

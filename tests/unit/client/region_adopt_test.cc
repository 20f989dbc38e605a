// Region::adopt: another process's pages in place of the program's.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "client/foreign_page.h"
#include "client/region.h"
#include "region_fixture.h"

namespace ferry::client {
namespace {

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

}  // namespace
}  // namespace ferry::client

// src/ipc/pool.cc: runs never overlap, memory comes back whole, hot memory is used first.
#include "ipc/pool.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <map>

namespace ferry::ipc {
namespace {

constexpr uint64_t kBase = 1 << 20;

Pool make_pool(uint64_t granules) {
  auto pool = Pool::create({kBase, granules * Pool::kGranule});
  EXPECT_TRUE(pool.ok());
  return std::move(*pool);
}

TEST(Pool, GivesWhatWasAskedForRoundedToAPowerOfTwoOfPages) {
  Pool pool = make_pool(256);
  EXPECT_EQ(pool.allocate(1)->length, 4096u);
  EXPECT_EQ(pool.allocate(4096)->length, 4096u);
  EXPECT_EQ(pool.allocate(4097)->length, 8192u);
  EXPECT_EQ(pool.allocate(Pool::kMaxRun)->length, Pool::kMaxRun);
}

TEST(Pool, RefusesNothingAndTooMuch) {
  Pool pool = make_pool(256);
  EXPECT_EQ(pool.allocate(0).error(), Errc::invalid);
  EXPECT_EQ(pool.allocate(Pool::kMaxRun + 1).error(), Errc::invalid);
}

TEST(Pool, LastReleasedIsFirstUsed) {
  Pool pool = make_pool(256);
  auto a = *pool.allocate(4096), b = *pool.allocate(4096), c = *pool.allocate(4096);
  pool.release(b.offset);
  EXPECT_EQ(pool.allocate(4096)->offset, b.offset);
  EXPECT_NE(a.offset, c.offset);
}

TEST(Pool, IsEmptyWhenEverythingIsOut) {
  Pool pool = make_pool(3);
  ASSERT_TRUE(pool.allocate(4096).ok() && pool.allocate(4096).ok() && pool.allocate(4096).ok());
  EXPECT_EQ(pool.free_bytes(), 0u);
  EXPECT_EQ(pool.allocate(1).error(), Errc::no_buffers);
}

TEST(Pool, JoinsNeighboursIntoLargeRunsAgain) {
  Pool pool = make_pool(64);
  std::vector<uint64_t> runs;
  for (int i = 0; i < 64; ++i) runs.push_back(pool.allocate(4096)->offset);
  for (uint64_t offset : runs) pool.release(offset);
  EXPECT_TRUE(pool.allocate(Pool::kMaxRun).ok());
}

TEST(Pool, FindsTheRunAroundAByte) {
  Pool pool = make_pool(128);
  auto small = *pool.allocate(4096);
  auto large = *pool.allocate(65536);
  EXPECT_EQ(pool.run_of(small.offset + 4095).offset, small.offset);
  EXPECT_EQ(pool.run_of(large.offset + 40000).offset, large.offset);
  EXPECT_EQ(pool.run_of(large.offset + 40000).length, 65536u);
  pool.release(large.offset);
  EXPECT_EQ(pool.run_of(large.offset + 40000).length, 0u);
  EXPECT_EQ(pool.run_of(kBase - 1).length, 0u);
  EXPECT_EQ(pool.run_of(kBase + 128 * 4096).length, 0u);
}

// Against a model: a map of allocated runs.
TEST(Pool, AgreesWithAModelUnderAnyHistory) {
  EXPECT_TRUE(rc::check([] {
    const auto granules = *rc::gen::inRange<uint64_t>(1, 300);
    Pool pool = std::move(*Pool::create({kBase, granules * Pool::kGranule}));
    std::map<uint64_t, uint32_t> out;  // offset → length
    const auto steps = *rc::gen::container<std::vector<std::pair<bool, uint32_t>>>(
        rc::gen::pair(rc::gen::arbitrary<bool>(), rc::gen::inRange<uint32_t>(1, Pool::kMaxRun + 1)));
    for (const auto& [take, number] : steps) {
      if (take || out.empty()) {
        auto run = pool.allocate(number);
        if (!run) continue;
        RC_ASSERT(run->length >= number);
        RC_ASSERT(pool.area().contains(run->offset, run->length));
        auto next = out.lower_bound(run->offset);
        const bool before_next = next == out.end() || run->offset + run->length <= next->first;
        const bool behind_last = next == out.begin() || std::prev(next)->first + std::prev(next)->second <= run->offset;
        RC_ASSERT(before_next && behind_last);
        out[run->offset] = run->length;
      } else {
        auto victim = std::next(out.begin(), number % out.size());
        RC_ASSERT(pool.run_of(victim->first + victim->second - 1).offset == victim->first);
        pool.release(victim->first);
        out.erase(victim);
      }
      uint64_t used = 0;
      for (const auto& [offset, length] : out) used += length;
      RC_ASSERT(pool.free_bytes() == granules * Pool::kGranule - used);
    }
    for (const auto& [offset, length] : out) pool.release(offset);
    // Whole again: as many of the largest runs as fit.
    for (uint64_t i = 0; i < granules * Pool::kGranule / Pool::kMaxRun; ++i) RC_ASSERT(pool.allocate(Pool::kMaxRun).ok());
  }));
}

}  // namespace
}  // namespace ferry::ipc

// Descriptors to bytes: total, whatever the descriptor says. And the pool of input blocks.
#include "server/memory.h"

#include <gtest/gtest.h>

#include <array>

namespace ferry::server {
namespace {

TEST(MemoryTest, FindsBytesOfARegion) {
  Memory m(1 << 20);
  std::array<std::byte, 100> bytes{};
  buf::RegionId id = m.add(bytes.data(), bytes.size(), nullptr);
  EXPECT_EQ(m.read({10, 20, id}).data(), bytes.data() + 10);
  EXPECT_EQ(m.read({10, 20, id}).size(), 20u);
}

TEST(MemoryTest, WhatLeavesARegionIsEmpty) {
  Memory m(1 << 20);
  std::array<std::byte, 100> bytes{};
  buf::RegionId id = m.add(bytes.data(), bytes.size(), nullptr);
  EXPECT_TRUE(m.read({90, 11, id}).empty());
  EXPECT_TRUE(m.read({101, 1, id}).empty());
  EXPECT_TRUE(m.read({UINT64_MAX, 2, id}).empty());
  EXPECT_TRUE(m.write({UINT64_MAX - 1, 100, id}).empty());
  EXPECT_FALSE(m.read({90, 10, id}).empty());
}

TEST(MemoryTest, ARegionThatIsGoneStaysGone) {
  Memory m(1 << 20);
  std::array<std::byte, 100> bytes{};
  buf::RegionId old = m.add(bytes.data(), bytes.size(), nullptr);
  m.remove(old);
  EXPECT_TRUE(m.read({0, 1, old}).empty());
  buf::RegionId next = m.add(bytes.data(), bytes.size(), nullptr);
  EXPECT_NE(next, old);
  EXPECT_TRUE(m.read({0, 1, old}).empty());
  EXPECT_FALSE(m.read({0, 1, next}).empty());
}

TEST(MemoryTest, UnknownRegionsAreEmpty) {
  Memory m(1 << 20);
  for (buf::RegionId id : {0u, 2u, 77u, UINT32_MAX}) EXPECT_TRUE(m.read({0, 1, id}).empty()) << id;
}

TEST(InputPoolTest, PiecesInARowAdjoinAndShareABlock) {
  InputPool pool({4096, 1 << 20});
  auto a = pool.allocate(100), b = pool.allocate(100);
  ASSERT_TRUE(a && b);
  EXPECT_EQ(*a, 4096u);
  EXPECT_EQ(*b, *a + 100);
  EXPECT_EQ(pool.touched_blocks(), 1u);
}

// Whoever reads from a descriptor asks for much, and often gets one byte.
TEST(InputPoolTest, WhatIsGivenBackFromTheEndIsCutAgain) {
  InputPool pool({4096, 2 * InputPool::kBlockSize});
  for (uint32_t i = 0; i < 100'000; ++i) {
    auto d = pool.allocate(65536);
    ASSERT_TRUE(d.ok()) << i;
    ASSERT_EQ(*d, 4096 + i);
    pool.release(*d + 1, 65535);
  }
  EXPECT_EQ(pool.used_bytes(), 100'000u);
  EXPECT_EQ(pool.touched_blocks(), 1u);
  pool.release(4096, 100'000);
  EXPECT_EQ(*pool.allocate(1), 4096u) << "empty: from its start";
}

TEST(InputPoolTest, AnEmptyBlockIsUsedAgainFromItsStart) {
  InputPool pool({0, 1 << 20});
  for (int i = 0; i < 1000; ++i) {
    auto a = pool.allocate(100000);
    ASSERT_TRUE(a);
    pool.release(*a, 100000);
  }
  EXPECT_EQ(pool.touched_blocks(), 1u);
  EXPECT_EQ(pool.used_bytes(), 0u);
}

TEST(InputPoolTest, FullMeansNoBuffersUntilABlockIsEmpty) {
  InputPool pool({0, 2 * InputPool::kBlockSize});
  auto a = pool.allocate(InputPool::kBlockSize), b = pool.allocate(InputPool::kBlockSize);
  ASSERT_TRUE(a && b);
  EXPECT_EQ(pool.allocate(1).error(), Errc::no_buffers);
  pool.release(*a, InputPool::kBlockSize - 1);
  EXPECT_EQ(pool.allocate(1).error(), Errc::no_buffers);
  pool.release(*a + InputPool::kBlockSize - 1, 1);
  EXPECT_TRUE(pool.allocate(InputPool::kBlockSize));
}

TEST(InputPoolTest, AdjoiningPiecesOfTwoBlocksCanBeReleasedAtOnce) {
  InputPool pool({0, 4 * InputPool::kBlockSize});
  auto a = pool.allocate(InputPool::kBlockSize), b = pool.allocate(InputPool::kBlockSize);
  ASSERT_EQ(*b, *a + InputPool::kBlockSize);
  pool.release(*a + 10, 2 * InputPool::kBlockSize - 10);
  pool.release(*a, 10);
  EXPECT_EQ(pool.used_bytes(), 0u);
}

TEST(InputPoolTest, RefusesPiecesThatFitNoBlock) {
  InputPool pool({0, 4 * InputPool::kBlockSize});
  EXPECT_FALSE(pool.allocate(InputPool::kBlockSize + 1));
  EXPECT_FALSE(pool.allocate(0));
}

TEST(InputPoolTest, Aligns) {
  InputPool pool({0, 1 << 20});
  ASSERT_TRUE(pool.allocate(3));
  EXPECT_EQ(*pool.allocate(64, 8), 8u);
}

}  // namespace
}  // namespace ferry::server

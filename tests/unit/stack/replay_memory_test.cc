// Bytes filled into any place are read from any other that covers it.
#include "stack/replay_memory.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace ferry::stack {
namespace {

TEST(ReplayMemory, ReadsAcrossPagesAndFills) {
  auto memory = std::make_unique<ReplayMemory>();
  std::vector<std::byte> bytes(20'000);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte{static_cast<uint8_t>(i * 31 >> 3)};
  ASSERT_TRUE(memory->fill({1000, 9000, 3}, ByteSpan(bytes).first(9000)).ok());
  ASSERT_TRUE(memory->fill({10'000, 11'000, 3}, ByteSpan(bytes).subspan(9000)).ok());
  EXPECT_TRUE(equal_bytes(memory->read({1000, 20'000, 3}), bytes));
  EXPECT_TRUE(equal_bytes(memory->read({5000, 10, 3}), ByteSpan(bytes).subspan(4000, 10)));
  EXPECT_TRUE(memory->read({1000, 10, 4}).empty());
  EXPECT_TRUE(memory->read({1'000'000, 10, 3}).empty());
  EXPECT_TRUE(memory->read({0, ReplayMemory::kMaxRead + 1, 3}).empty());
  EXPECT_TRUE(memory->read({UINT64_MAX - 4, 10, 3}).empty());
}

TEST(ReplayMemory, LaterFillsWin) {
  auto memory = std::make_unique<ReplayMemory>();
  const std::byte a[4] = {std::byte{1}, std::byte{1}, std::byte{1}, std::byte{1}}, b[1] = {std::byte{2}};
  ASSERT_TRUE(memory->fill({0, 4, 1}, a).ok());
  ASSERT_TRUE(memory->fill({2, 1, 1}, b).ok());
  const ByteSpan read = memory->read({0, 4, 1});
  EXPECT_EQ(read[1], std::byte{1});
  EXPECT_EQ(read[2], std::byte{2});
}

}  // namespace
}  // namespace ferry::stack

#include "tcp/sack.h"

#include <gtest/gtest.h>

namespace ferry::tcp {
namespace {

SeqNum s(uint32_t n) { return SeqNum(0xffffff00u) + n; }

TEST(SackBlocks, NewestFirstMergedAndBounded) {
  SackBlocks b;
  for (uint32_t i = 1; i <= 6; ++i) b.add(s(i * 100), s(i * 100 + 50));
  Options o;
  b.emit(o, 4);
  ASSERT_EQ(o.sack_count, 4);
  EXPECT_EQ(o.sacks[0].left, s(600));
  EXPECT_EQ(o.sacks[3].left, s(300));
  b.add(s(550), s(600));  // joins two
  Options merged;
  b.emit(merged, 4);
  EXPECT_EQ(merged.sacks[0].left, s(500));
  EXPECT_EQ(merged.sacks[0].right, s(650));
  EXPECT_EQ(merged.sack_count, 3);
}

TEST(SackBlocks, AcknowledgedBlocksGo) {
  SackBlocks b;
  b.add(s(100), s(200));
  b.add(s(300), s(400));
  b.advance(s(350));
  Options o;
  b.emit(o, 3);
  ASSERT_EQ(o.sack_count, 1);
  EXPECT_EQ(o.sacks[0].left, s(350));
  b.advance(s(400));
  EXPECT_TRUE(b.empty());
}

TEST(SackBlocks, ADuplicateIsReportedFirstAndOnce) {
  SackBlocks b;
  b.add(s(100), s(200));
  b.add_duplicate(s(10), s(20));
  EXPECT_TRUE(b.reports_duplicate());
  Options o;
  b.emit(o, 3);
  EXPECT_EQ(o.sack_count, 2);
  EXPECT_EQ(o.sacks[0].left, s(10));
  Options again;
  b.emit(again, 3);
  EXPECT_EQ(again.sack_count, 1);
}

}  // namespace
}  // namespace ferry::tcp

#include "tcp/sent_log.h"

#include <gtest/gtest.h>

namespace ferry::tcp {
namespace {

Instant at(int64_t ms) { return Instant::from_ns(ms * 1'000'000); }

class SentLogTest : public ::testing::Test {
 protected:
  // Three runs of 1000 bytes, across the wrap of sequence numbers, sent at 1, 2 and 3 ms.
  void SetUp() override {
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(log.reserve());
      log.append(base + i * 1000, base + (i + 1) * 1000, at(i + 1), 0);
    }
  }
  SeqNum base{0xfffffa00u};
  SentLog log;
};

TEST_F(SentLogTest, AcknowledgingPartOfARunShortensIt) {
  Delivered d;
  log.acknowledge(base + 1500, d);
  EXPECT_EQ(d.bytes, 1500u);
  EXPECT_EQ(log.size(), 2u);
  EXPECT_EQ(log.run(0).start, base + 1500);
  EXPECT_EQ(d.newest, at(2));
  EXPECT_EQ(d.rtt_from, at(1));
}

TEST_F(SentLogTest, SackSplitsRunsAndCountsOnce) {
  Delivered d;
  log.sack(base + 1200, base + 2500, d);
  EXPECT_EQ(d.bytes, 1300u);
  EXPECT_EQ(log.sacked_bytes(), 1300u);
  EXPECT_EQ(log.highest_sacked(), base + 2500);
  EXPECT_EQ(log.size(), 5u);
  Delivered again;
  log.sack(base + 1200, base + 2500, again);
  EXPECT_EQ(again.bytes, 0u);
  Delivered rest;
  log.acknowledge(base + 3000, rest);
  EXPECT_EQ(rest.bytes, 1700u);
  EXPECT_EQ(log.sacked_bytes(), 0u);
  EXPECT_TRUE(log.empty());
}

TEST_F(SentLogTest, AHoleThatFillsLateIsReordering) {
  Delivered d;
  log.sack(base + 2000, base + 3000, d);
  EXPECT_FALSE(d.filled_hole);
  Delivered late;
  log.sack(base + 1000, base + 2000, late);
  EXPECT_TRUE(late.filled_hole);
}

TEST_F(SentLogTest, LossesAreCountedUntilSentAgainOrDelivered) {
  log.mark_lost(0);
  log.mark_lost(0);
  log.mark_lost(1);
  EXPECT_EQ(log.lost_bytes(), 2000u);
  EXPECT_EQ(log.first_lost(), 0u);
  log.mark_sent_again(0, at(9), 0);
  EXPECT_EQ(log.lost_bytes(), 1000u);
  EXPECT_EQ(log.first_lost(), 1u);
  Delivered d;
  log.sack(base + 1000, base + 2000, d);
  EXPECT_EQ(log.lost_bytes(), 0u);
  EXPECT_EQ(log.first_lost(), log.size());
  Delivered all;
  log.acknowledge(base + 3000, all);
  EXPECT_TRUE(all.newest_retransmitted);  // sent at 9 ms
  EXPECT_EQ(all.rtt_from, at(3));         // Karn: not from the retransmission
}

TEST_F(SentLogTest, RenegingMakesSackedRunsOrdinaryAgain) {
  Delivered d;
  log.sack(base, base + 3000, d);
  log.forget_sacks();
  EXPECT_EQ(log.sacked_bytes(), 0u);
  log.mark_all_lost();
  EXPECT_EQ(log.lost_bytes(), 3000u);
}

}  // namespace
}  // namespace ferry::tcp

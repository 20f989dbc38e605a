#include "tcp/cc/hystart.h"

#include <gtest/gtest.h>

namespace ferry::tcp::cc {
namespace {

// One round of ten samples; returns whether slow start ended in it.
bool round(HyStart& h, uint32_t& seq, Duration rtt) {
  bool over = false;
  SeqNum end(seq + 10'000);  // what is sent while this round is acknowledged
  for (int i = 0; i < 10; ++i, seq += 1000) over = h.on_ack(SeqNum(seq), end, rtt) || over;
  return over;
}

TEST(HyStart, StaysInSlowStartWhileTheRoundTripIsFlat) {
  HyStart h;
  uint32_t seq = 0xffff0000u;
  for (int i = 0; i < 50; ++i) EXPECT_FALSE(round(h, seq, Duration::ms(10)));
  EXPECT_EQ(h.growth_divisor(), 1u);
}

TEST(HyStart, LeavesAfterFiveConservativeRounds) {
  HyStart h;
  uint32_t seq = 1000;
  round(h, seq, Duration::ms(20));
  round(h, seq, Duration::ms(20));
  round(h, seq, Duration::ms(30));
  EXPECT_EQ(h.growth_divisor(), 4u);
  int rounds = 0;
  while (rounds < 20 && !round(h, seq, Duration::ms(30))) ++rounds;
  EXPECT_GE(rounds, 3);
  EXPECT_LE(rounds, 5);
}

TEST(HyStart, GoesBackWhenTheRiseWasJitter) {
  HyStart h;
  uint32_t seq = 1000;
  round(h, seq, Duration::ms(20));
  round(h, seq, Duration::ms(20));
  round(h, seq, Duration::ms(30));
  EXPECT_EQ(h.growth_divisor(), 4u);
  round(h, seq, Duration::ms(20));
  EXPECT_EQ(h.growth_divisor(), 1u);
}

}  // namespace
}  // namespace ferry::tcp::cc

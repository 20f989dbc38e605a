#include "net/rate_limit.h"

#include <gtest/gtest.h>

namespace ferry::net {
namespace {

TEST(TokenBucket, BurstThenRate) {
  TokenBucket b(3, Duration::ms(10));
  Instant t = Instant::from_ns(5'000'000'000);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(b.take(t));
  EXPECT_FALSE(b.take(t));
  EXPECT_FALSE(b.take(t + Duration::ms(9)));
  EXPECT_TRUE(b.take(t + Duration::ms(10)));
  EXPECT_FALSE(b.take(t + Duration::ms(19)));
  EXPECT_TRUE(b.take(t + Duration::ms(20)));
}

TEST(TokenBucket, NeverHoldsMoreThanTheBurst) {
  TokenBucket b(2, Duration::ms(1));
  Instant t = Instant::from_ns(0) + Duration::seconds(1'000'000);
  int taken = 0;
  while (b.take(t)) ++taken;
  EXPECT_EQ(taken, 2);
}

TEST(TokenBucket, TimeThatStandsStillOrGoesBackGivesNothing) {
  TokenBucket b(1, Duration::ms(1));
  EXPECT_TRUE(b.take(Instant::from_ns(1'000'000'000)));
  EXPECT_FALSE(b.take(Instant::from_ns(1'000'000'000)));
  EXPECT_FALSE(b.take(Instant::from_ns(0)));
}

}  // namespace
}  // namespace ferry::net

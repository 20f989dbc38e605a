#include "tcp/rtt.h"

#include <gtest/gtest.h>

namespace ferry::tcp {
namespace {

Instant at(int64_t ms) { return Instant::from_ns(ms * 1'000'000); }

TEST(Rtt, OneSecondBeforeTheFirstSample) {
  RttEstimator r;
  EXPECT_EQ(r.timeout(0), Duration::seconds(1));
  EXPECT_EQ(r.timeout(2), Duration::seconds(4));
  r.set_initial(Duration::seconds(3));
  EXPECT_EQ(r.timeout(0), Duration::seconds(3));
}

TEST(Rtt, FollowsRfc6298) {
  RttEstimator r;
  r.sample(at(0), Duration::ms(800));
  EXPECT_EQ(r.smoothed(), Duration::ms(800));
  EXPECT_EQ(r.variation(), Duration::ms(400));
  EXPECT_EQ(r.timeout(0), Duration::ms(2400));
  r.sample(at(1), Duration::ms(400));
  EXPECT_EQ(r.variation(), Duration::ms(400));  // 3/4 * 400 + 1/4 * 400
  EXPECT_EQ(r.smoothed(), Duration::ms(750));   // 7/8 * 800 + 1/8 * 400
}

TEST(Rtt, NeverBelowTheVarianceFloorNorAboveTwoMinutes) {
  RttEstimator r;
  for (int i = 0; i < 100; ++i) r.sample(at(i), Duration::us(50));
  EXPECT_EQ(r.timeout(0), Duration::us(50) + Duration::ms(200));
  EXPECT_EQ(r.timeout(30), Duration::seconds(120));
}

TEST(Rtt, TheMinimumForgetsAfterAWhile) {
  RttEstimator r;
  r.sample(at(0), Duration::ms(1));
  r.sample(at(100), Duration::ms(5));
  EXPECT_EQ(r.minimum(), Duration::ms(1));
  for (int s = 1; s <= 30; ++s) r.sample(at(s * 1000), Duration::ms(5));
  EXPECT_EQ(r.minimum(), Duration::ms(5));
}

}  // namespace
}  // namespace ferry::tcp

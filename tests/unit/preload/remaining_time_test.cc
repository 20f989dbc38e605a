// Time-outs across several sleeps.
#include "preload/remaining_time.h"

#include <gtest/gtest.h>

namespace ferry::preload {
namespace {

TEST(RemainingTime, WithoutLimitNothingRunsOut) {
  RemainingTime forever(nullptr);
  EXPECT_EQ(forever.left(), nullptr);
  EXPECT_EQ(forever.left_ns(), -1);
  EXPECT_FALSE(forever.expired());
}

TEST(RemainingTime, ZeroIsOverAtOnce) {
  timespec zero{0, 0};
  RemainingTime now(&zero);
  EXPECT_TRUE(now.expired());
  EXPECT_EQ(now.left()->tv_sec, 0);
  EXPECT_EQ(now.left()->tv_nsec, 0);
}

TEST(RemainingTime, HugeTimeoutsDoNotOverflow) {
  timespec long_one{INT64_MAX, 999'999'999};
  RemainingTime ages(&long_one);
  EXPECT_FALSE(ages.expired());
  EXPECT_GT(ages.left_ns(), 0);
  EXPECT_GE(ages.left()->tv_sec, 1'000'000);
}

TEST(RemainingTime, MillisecondsAreRoundedUp) {
  EXPECT_EQ(to_milliseconds(nullptr), -1);
  timespec t{0, 1};
  EXPECT_EQ(to_milliseconds(&t), 1);
  t = {2, 500'000'000};
  EXPECT_EQ(to_milliseconds(&t), 2500);
  t = {INT32_MAX, 0};
  EXPECT_EQ(to_milliseconds(&t), INT32_MAX);
}

}  // namespace
}  // namespace ferry::preload

// The wait in user space before a sleep: what it learns, and when it looks. Nothing here is timed.
#include "client/adaptive_spin.h"

#include <gtest/gtest.h>

namespace ferry::client {
namespace {

constexpr uint32_t kMost = 20'000;
constexpr auto kAwake = [] { return true; };

TEST(AdaptiveSpin, ShortWaitsAllowMoreUpToTheLimit) {
  AdaptiveSpin spin;
  uint32_t before = spin.budget();
  EXPECT_GT(before, 0u);
  for (int i = 0; i < 10; ++i) {
    spin.learn(kMost, kMost);
    EXPECT_GE(spin.budget(), before);
    before = spin.budget();
  }
  EXPECT_EQ(spin.budget(), kMost);
}

TEST(AdaptiveSpin, LongWaitsAllowLessDownToNothing) {
  AdaptiveSpin spin;
  for (int i = 0; i < 10; ++i) spin.learn(kMost, kMost);
  int waits = 0;
  for (; spin.budget() != 0; ++waits) spin.learn(kMost + 1, kMost);
  EXPECT_EQ(waits, 7);  // 20,000 down to 312
}

TEST(AdaptiveSpin, OneShortSleepIsEnoughToSpinAgain) {
  AdaptiveSpin spin;
  while (spin.budget() != 0) spin.learn(kMost + 1, kMost);
  spin.learn(1, kMost);
  EXPECT_EQ(spin.budget(), 2'000u);
}

TEST(AdaptiveSpin, FindsWhatIsThereAtTheFirstLook) {
  if (!has_cpus_to_spin()) GTEST_SKIP() << "on one CPU nothing spins";
  AdaptiveSpin spin;
  int looks = 0;
  EXPECT_TRUE(spin.run({kMost, false}, kAwake, [&] { return ++looks > 0; }));
  EXPECT_EQ(looks, 1);
}

TEST(AdaptiveSpin, EndsWithNothingAndThenLearnsFromTheSleep) {
  AdaptiveSpin spin;
  const uint32_t before = spin.budget();
  EXPECT_FALSE(spin.run({kMost, false}, kAwake, [] { return false; }));
  EXPECT_EQ(spin.budget(), before);  // the sleep has not ended
  spin.slept(0);
  EXPECT_EQ(spin.budget(), before / 2);
}

TEST(AdaptiveSpin, StopsWhenTheOtherFallsAsleep) {
  AdaptiveSpin spin;
  for (int i = 0; i < 30; ++i) spin.learn(1, 1'000'000'000);
  int asked = 0;
  EXPECT_FALSE(spin.run({1'000'000'000, true}, [&] { return ++asked < 3; }, [] { return false; }));
  EXPECT_EQ(asked, has_cpus_to_spin() ? 3 : 0);
}

TEST(AdaptiveSpin, LooksNotAtAllWithoutABudget) {
  AdaptiveSpin spin;
  int looks = 0;
  EXPECT_FALSE(spin.run({0, false}, kAwake, [&] { return ++looks > 0; }));
  while (spin.budget() != 0) spin.learn(kMost + 1, kMost);
  EXPECT_FALSE(spin.run({kMost, false}, kAwake, [&] { return ++looks > 0; }));
  EXPECT_EQ(looks, 0);
}

}  // namespace
}  // namespace ferry::client

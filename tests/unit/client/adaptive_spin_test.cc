// The wait in user space before a sleep: what it learns. Counted in looks, never timed.
#include "client/adaptive_spin.h"

#include <gtest/gtest.h>
#include <sched.h>

#include "client/channel.h"

namespace ferry::client {
namespace {

class AdaptiveSpinTest : public testing::Test {
 protected:
  void SetUp() override {
    cpu_set_t cpus;
    sched_getaffinity(0, sizeof cpus, &cpus);
    if (CPU_COUNT(&cpus) < 2) GTEST_SKIP() << "on one CPU nothing spins";
    Channel::configure(Config{});
  }
  bool hit() {
    return spin_.run([] { return true; }, [this] { return ++looks_ > 0; });
  }
  bool miss() {
    return spin_.run([] { return true; }, [this] { return ++looks_ < 0; });
  }
  // Misses until the spin looks no more.
  int misses_until_quiet() {
    for (int n = 0;; ++n) {
      looks_ = 0;
      EXPECT_FALSE(miss());
      if (looks_ == 0) return n;
    }
  }

  AdaptiveSpin spin_;
  int looks_ = 0;
};

TEST_F(AdaptiveSpinTest, FindsWhatIsThereAtTheFirstLook) {
  EXPECT_TRUE(hit());
  EXPECT_EQ(looks_, 1);
}

TEST_F(AdaptiveSpinTest, GivesUpAfterMissesAndProbesNowAndThen) {
  EXPECT_EQ(misses_until_quiet(), 4);  // 2,000 ns, 1,000, 500, 250
  looks_ = 0;
  int waits = 0;
  for (; looks_ == 0 && waits < 1000; ++waits) miss();
  EXPECT_EQ(waits, 64);  // one went by above, the last one looked
}

TEST_F(AdaptiveSpinTest, HitsMakeItMorePatientUpToTheLimit) {
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(hit());
  EXPECT_EQ(misses_until_quiet(), 7);  // 20,000 ns down to 312
}

TEST_F(AdaptiveSpinTest, OneHitAfterAProbeIsEnoughToGoOn) {
  misses_until_quiet();
  for (int i = 0; i < 63; ++i) miss();
  EXPECT_TRUE(hit());
  looks_ = 0;
  EXPECT_TRUE(hit());
  EXPECT_EQ(looks_, 1);
}

TEST_F(AdaptiveSpinTest, NobodyWaitsForASleeper) {
  EXPECT_FALSE(spin_.run([] { return false; }, [this] { return ++looks_ > 0; }));
  EXPECT_EQ(looks_, 0);
}

TEST_F(AdaptiveSpinTest, StopsWhenTheOtherFallsAsleep) {
  int turns = 0;
  for (int i = 0; i < 100; ++i) hit();
  EXPECT_FALSE(spin_.run([&] { return ++turns < 2; }, [this] { return ++looks_ < 0; }));
  EXPECT_EQ(turns, 2);
}

TEST_F(AdaptiveSpinTest, CanBeSwitchedOff) {
  Config config;
  config.spin_ns = 0;
  Channel::configure(config);
  EXPECT_FALSE(hit());
  EXPECT_EQ(looks_, 0);
}

}  // namespace
}  // namespace ferry::client

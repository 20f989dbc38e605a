#include "tcp/cc/cc.h"

#include <gtest/gtest.h>

namespace ferry::tcp::cc {
namespace {

constexpr uint32_t kMss = 1448;

AckSample acked(uint32_t bytes, bool limited = true) {
  AckSample s;
  s.acked = bytes;
  s.window_limited = limited;
  s.srtt = Duration::ms(1);
  s.now = Instant::from_ns(1'000'000);
  return s;
}

TEST(Controller, StartsWithTenSegmentsAndDoubles) {
  Controller c;
  c.start(Algorithm::cubic, kMss);
  EXPECT_EQ(c.cwnd(), 10 * kMss);
  c.on_ack(acked(10 * kMss));
  EXPECT_EQ(c.cwnd(), 20 * kMss);
  EXPECT_TRUE(c.in_slow_start());
}

TEST(Controller, AnApplicationThatDoesNotFillTheWindowDoesNotGrowIt) {
  for (Algorithm a : {Algorithm::newreno, Algorithm::cubic}) {
    Controller c;
    c.start(a, kMss);
    c.on_ack(acked(10 * kMss, false));
    EXPECT_EQ(c.cwnd(), 10 * kMss);
  }
}

TEST(Controller, LossAndTimeout) {
  Controller c;
  c.start(Algorithm::newreno, kMss);
  c.on_loss({Instant(), LossKind::detected, 10 * kMss});
  EXPECT_EQ(c.cwnd(), 5 * kMss);
  EXPECT_FALSE(c.in_slow_start());
  c.on_loss({Instant(), LossKind::timeout, 5 * kMss});
  EXPECT_EQ(c.cwnd(), kMss);
  EXPECT_EQ(c.ssthresh(), 5 * kMss / 2);
}

TEST(Controller, UndoPutsTheWindowBack) {
  for (Algorithm a : {Algorithm::newreno, Algorithm::cubic}) {
    Controller c;
    c.start(a, kMss);
    c.on_loss({Instant(), LossKind::timeout, 10 * kMss});
    c.undo();
    EXPECT_EQ(c.cwnd(), 10 * kMss);
    EXPECT_EQ(c.ssthresh(), kNoThreshold);
  }
}

TEST(Controller, IdleTimeShrinksTowardsTheInitialWindowOnly) {
  Controller c;
  c.start(Algorithm::cubic, kMss);
  c.on_ack(acked(70 * kMss));
  ASSERT_EQ(c.cwnd(), 80 * kMss);
  c.on_idle(Instant(), Duration::ms(250), Duration::ms(200));
  EXPECT_EQ(c.cwnd(), 40 * kMss);
  c.on_idle(Instant(), Duration::seconds(100), Duration::ms(200));
  EXPECT_EQ(c.cwnd(), 10 * kMss);
  c.restart_small();
  c.on_idle(Instant(), Duration::seconds(100), Duration::ms(200));
  EXPECT_EQ(c.cwnd(), kMss);
}

TEST(Controller, NeverBeyondItsBound) {
  Controller c;
  c.start(Algorithm::newreno, kMss);
  for (int i = 0; i < 100; ++i) c.on_ack(acked(kMaxWindow));
  EXPECT_EQ(c.cwnd(), kMaxWindow);
}

}  // namespace
}  // namespace ferry::tcp::cc

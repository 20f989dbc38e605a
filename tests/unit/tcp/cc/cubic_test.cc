#include "tcp/cc/cubic.h"

#include <gtest/gtest.h>

#include <cmath>

namespace ferry::tcp::cc {
namespace {

TEST(Cubic, CubeRootIsExact) {
  for (uint64_t r : {0ull, 1ull, 2ull, 3ull, 1000ull, 46340ull, 2000000ull}) {
    EXPECT_EQ(integer_cube_root(r * r * r), r);
    if (r > 0) { EXPECT_EQ(integer_cube_root(r * r * r - 1), r - 1); }
  }
}

TEST(Cubic, LossReducesToSevenTenths) {
  Cubic c;
  Window w{1'000'000, kNoThreshold, 1000};
  EXPECT_EQ(c.threshold(w, 1'000'000), 700'000u);
  EXPECT_EQ(c.w_max(), 1'000'000u);
  w.cwnd = 800'000;  // lost again below the plateau: fast convergence
  EXPECT_EQ(c.threshold(w, 800'000), 560'000u);
  EXPECT_EQ(c.w_max(), 680'000u);
  w.cwnd = 2000;
  EXPECT_EQ(c.threshold(w, 2000), 2000u);  // never below two segments
}

// The window against the curve of RFC 9438 section 4.2, computed in floating point.
TEST(Cubic, FollowsTheCurve) {
  constexpr double kMss = 1000, kRttSeconds = 0.1;
  Cubic c;
  Window w{1'000'000, kNoThreshold, 1000};
  w.cwnd = w.ssthresh = c.threshold(w, w.cwnd);
  double k = std::cbrt((1'000'000 - 700'000) / kMss / 0.4);
  Instant start = Instant::from_ns(1'000'000'000);
  Instant now = start;
  bool first = true;
  for (int round = 0; round < 150; ++round) {
    now = now + Duration::ms(100);
    if (first) start = now, first = false;
    uint32_t window = w.cwnd;
    for (uint32_t acked = 0; acked < window; acked += 10'000) c.on_ack(w, now, 10'000, Duration::ms(100));
    double t = static_cast<double>((now - start).count_ms()) / 1000 + kRttSeconds;
    double curve = 0.4 * std::pow(t - k, 3) * kMss + 1'000'000;
    if (t > 1 && t < 14) { EXPECT_NEAR(w.cwnd, curve, 0.06 * curve) << "t = " << t; }
  }
  EXPECT_NEAR(c.k_ms() / 1000.0, k, 0.01);
  EXPECT_GT(w.cwnd, 1'000'000u);
}

TEST(Cubic, IsNotSlowerThanRenoOnShortPaths) {
  Cubic c;
  Window w{20'000, kNoThreshold, 1000};
  w.cwnd = w.ssthresh = c.threshold(w, w.cwnd);
  Instant now = Instant::from_ns(1'000'000'000);
  for (int round = 0; round < 100; ++round) {  // 1 ms each: the cubic part has hardly begun
    now = now + Duration::ms(1);
    uint32_t window = w.cwnd;
    for (uint32_t acked = 0; acked < window; acked += 1000) c.on_ack(w, now, 1000, Duration::ms(1));
  }
  EXPECT_GT(w.cwnd, 14'000u + 40'000u);  // alpha = 0.53 a round until the old window, then 1
}

}  // namespace
}  // namespace ferry::tcp::cc

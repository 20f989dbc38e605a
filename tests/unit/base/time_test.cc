#include "base/time.h"

#include <gtest/gtest.h>

namespace ferry {
namespace {

TEST(Time, UnitsAndArithmetic) {
  EXPECT_EQ(Duration::seconds(2), Duration::ms(2000));
  EXPECT_EQ(Duration::ms(3), Duration::us(3000));
  EXPECT_EQ((Duration::ms(3) * 4 / 2).count_us(), 6000);
  const Instant t = Instant::from_ns(5'000'000);
  EXPECT_EQ((t + Duration::ms(1)).ms(), 6);
  EXPECT_EQ((t - Duration::ms(1)).us(), 4000);
  EXPECT_EQ(t + Duration::ms(7) - t, Duration::ms(7));
  EXPECT_LT(t, t + Duration::ns(1));
}

TEST(Time, NeverIsLast) {
  EXPECT_TRUE(Instant::never().is_never());
  EXPECT_FALSE(Instant().is_never());
  EXPECT_EQ(earlier(Instant::never(), Instant::from_ns(1)), Instant::from_ns(1));
}

}  // namespace
}  // namespace ferry

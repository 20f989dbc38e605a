#include "tcp/options.h"

#include <gtest/gtest.h>

#include "tcp/limits.h"

namespace ferry::tcp {
namespace {

TEST(Options, KeepsWhatIsInRange) {
  UserOptions o;
  EXPECT_TRUE(store_option(o, Option::keep_idle, 32767).ok());
  EXPECT_EQ(o.keep_idle_s, 32767);
  EXPECT_TRUE(store_option(o, Option::linger2, -5).ok());
  EXPECT_EQ(o.linger2_s, -1);
  EXPECT_TRUE(store_option(o, Option::congestion, 1).ok());
  EXPECT_EQ(o.congestion, cc::Algorithm::newreno);
}

TEST(Options, RefusesWhatIsNot) {
  UserOptions o;
  EXPECT_EQ(store_option(o, Option::keep_idle, 0).error(), Errc::invalid);
  EXPECT_EQ(store_option(o, Option::keep_count, 128).error(), Errc::invalid);
  EXPECT_EQ(store_option(o, Option::max_segment, kMinMss - 1).error(), Errc::invalid);
  EXPECT_EQ(store_option(o, Option::congestion, 3).error(), Errc::invalid);
  EXPECT_EQ(store_option(o, Option::user_timeout, -1).error(), Errc::invalid);
  EXPECT_EQ(store_option(o, static_cast<Option>(99), 1).error(), Errc::no_protocol_option);
  EXPECT_EQ(o.keep_idle_s, 7200);
}

TEST(Options, BufferSizesAreClamped) {
  UserOptions o;
  EXPECT_TRUE(store_option(o, Option::receive_buffer, 1).ok());
  EXPECT_EQ(o.receive_buffer, kMinBuffer);
  EXPECT_TRUE(store_option(o, Option::send_buffer, INT64_MAX).ok());
  EXPECT_EQ(o.send_buffer, kMaxSendBuffer);
}

}  // namespace
}  // namespace ferry::tcp

#include "tcp/cc/newreno.h"

#include <gtest/gtest.h>

namespace ferry::tcp::cc {
namespace {

TEST(NewReno, GrowsByOneSegmentPerWindow) {
  NewReno r;
  Window w{10'000, 5'000, 1000};
  for (int i = 0; i < 10; ++i) r.on_ack(w, 1000);
  EXPECT_EQ(w.cwnd, 11'000u);
  for (int i = 0; i < 11; ++i) r.on_ack(w, 1000);
  EXPECT_EQ(w.cwnd, 12'000u);
}

TEST(NewReno, HalvesWhatIsInFlightButKeepsTwoSegments) {
  Window w{10'000, kNoThreshold, 1000};
  EXPECT_EQ(NewReno::threshold(w, 8'000), 4'000u);
  EXPECT_EQ(NewReno::threshold(w, 1'000), 2'000u);
}

}  // namespace
}  // namespace ferry::tcp::cc

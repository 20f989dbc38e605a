#include "tcp/reassembly.h"

#include <gtest/gtest.h>

#include <string>

#include "base/rng.h"

namespace ferry::tcp {
namespace {

TEST(Reassembly, GapsAreWhatNothingCovers) {
  Reassembly r;
  SeqNum s(0xffffff00u);
  Reassembly::Gap g;
  ASSERT_TRUE(r.next_gap(s + 100, s + 200, g));
  ASSERT_TRUE(r.reserve());
  r.insert(g, {0, 100, 1});
  ASSERT_TRUE(r.next_gap(s + 300, s + 400, g));
  ASSERT_TRUE(r.reserve());
  r.insert(g, {100, 100, 1});
  EXPECT_EQ(r.size(), 2u);  // descriptors stay as they were placed

  ASSERT_TRUE(r.next_gap(s + 150, s + 500, g));
  EXPECT_EQ(g.start, s + 200);
  EXPECT_EQ(g.end, s + 300);
  ASSERT_TRUE(r.next_gap(g.end, s + 500, g));
  EXPECT_EQ(g.start, s + 400);
  EXPECT_EQ(g.end, s + 500);
  EXPECT_FALSE(r.next_gap(s + 120, s + 180, g));

  buf::IoDesc d;
  EXPECT_FALSE(r.take(s, d));
  EXPECT_TRUE(r.take(s + 100, d));
  EXPECT_EQ(d.offset, 0u);
  EXPECT_EQ(r.bytes(), 100u);
}

// Random overlapping arrivals come out as the original, each byte once.
TEST(Reassembly, PutsAnyOrderRight) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Rng rng(seed);
    constexpr uint32_t kSize = 2000;
    SeqNum base(static_cast<uint32_t>(rng.next()));
    Reassembly r;
    uint32_t next = 0;
    uint64_t placed = 0;
    for (int i = 0; i < 10000 && next < kSize; ++i) {
      uint32_t from = rng.below(8) == 0 ? next : rng.below(kSize), to = from + 1 + rng.below(kSize - from);
      if (to <= next) continue;
      if (from < next) from = next;
      Reassembly::Gap g;
      SeqNum at = base + from;
      while (r.next_gap(at, base + to, g)) {
        ASSERT_TRUE(r.reserve());
        uint32_t length = static_cast<uint32_t>(g.end - g.start);
        placed += length;
        // The descriptor's offset says which bytes of the stream it holds.
        r.insert(g, {static_cast<uint32_t>(g.start - base), length, 1});
        at = g.end;
      }
      for (buf::IoDesc d; r.take(base + next, d); next += d.length) ASSERT_EQ(d.offset, next);
    }
    EXPECT_EQ(next, kSize);
    EXPECT_EQ(placed, kSize);
    EXPECT_EQ(r.bytes(), 0u);
  }
}

}  // namespace
}  // namespace ferry::tcp

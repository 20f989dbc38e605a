#include "base/rng.h"

#include <gtest/gtest.h>

#include <array>

namespace ferry {
namespace {

// The first vectors of the reference implementation's table: key 00..0f, input of n bytes 00, 01, 02, ...
TEST(SipHash, ReferenceVectors) {
  const SipKey key{0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL};
  std::array<std::byte, 15> input;
  for (size_t i = 0; i < input.size(); ++i) input[i] = std::byte(i);
  EXPECT_EQ(siphash(key, {}), 0x726fdb47dd0e0e31ULL);
  EXPECT_EQ(siphash(key, ByteSpan(input).first(1)), 0x74f839c593dc67fdULL);
  EXPECT_EQ(siphash(key, input), 0xa129ca6149be45e5ULL);  // the example in the paper
}

TEST(Rng, SameSeedSameSequence) {
  Rng a(42), b(42), c(43);
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const uint64_t x = a.next();
    EXPECT_EQ(x, b.next());
    differs |= x != c.next();
  }
  EXPECT_TRUE(differs);
}

TEST(Rng, BelowStaysBelow) {
  Rng r(1);
  std::array<int, 7> seen{};
  for (int i = 0; i < 7000; ++i) ++seen.at(r.below(7));
  for (int n : seen) EXPECT_GT(n, 700);
}

}  // namespace
}  // namespace ferry

#include "tcp/send_queue.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace ferry::tcp {
namespace {

TEST(SendQueue, AdjoiningDescriptorsBecomeOne) {
  SendQueue q;
  ASSERT_TRUE(q.append({0, 10, 1}));
  ASSERT_TRUE(q.append({10, 5, 1}));
  EXPECT_EQ(q.descriptors(), 1u);
  ASSERT_TRUE(q.append({20, 5, 1}));
  ASSERT_TRUE(q.append({25, 5, 2}));
  EXPECT_EQ(q.descriptors(), 3u);
  EXPECT_EQ(q.bytes(), 25u);
}

TEST(SendQueue, StopsWhenASegmentIsOutOfParts) {
  SendQueue q;
  for (uint64_t i = 0; i < 20; ++i) ASSERT_TRUE(q.append({i * 100, 10, 1}));
  OutputSegment s;
  EXPECT_EQ(q.gather(0, 200, s), 170u);
  EXPECT_EQ(s.part_count, OutputSegment::kMaxParts);
  EXPECT_EQ(s.payload_length, 170u);
  OutputSegment rest;
  EXPECT_EQ(q.gather(170, 30, rest), 30u);
  EXPECT_EQ(rest.parts[0].offset, 1700u);
}

// Any order of gathers, appends and drops names the same bytes as a plain string would.
TEST(SendQueue, GathersWhatWasAppended) {
  SendQueue q;
  std::string model;      // region 1 byte at offset o is o % 251
  Rng rng(3);
  uint64_t offset = 0;
  for (int i = 0; i < 5000; ++i) {
    if (rng.below(3) == 0 && q.descriptors() < 100) {
      if (rng.below(2) == 0) offset += 1 + rng.below(50);
      uint32_t n = 1 + rng.below(100);
      ASSERT_TRUE(q.append({offset, n, 1}));
      for (uint32_t k = 0; k < n; ++k) model += static_cast<char>((offset + k) % 251);
      offset += n;
    } else if (rng.below(4) == 0) {
      uint32_t n = rng.below(static_cast<uint32_t>(model.size()) + 1);
      q.drop(n);
      model.erase(0, n);
    } else {
      uint32_t at = rng.below(static_cast<uint32_t>(model.size()) + 1);
      uint32_t n = rng.below(static_cast<uint32_t>(model.size()) - at + 1);
      OutputSegment s;
      uint32_t taken = q.gather(at, n, s);
      ASSERT_TRUE(taken == n || s.part_count == OutputSegment::kMaxParts);
      std::string got;
      for (uint16_t p = 0; p < s.part_count; ++p)
        for (uint32_t k = 0; k < s.parts[p].length; ++k) got += static_cast<char>((s.parts[p].offset + k) % 251);
      ASSERT_EQ(got, model.substr(at, taken));
    }
    ASSERT_EQ(q.bytes(), model.size());
  }
}

}  // namespace
}  // namespace ferry::tcp

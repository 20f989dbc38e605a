#include "buf/packet.h"

#include <gtest/gtest.h>

namespace ferry::buf {
namespace {

TEST(IoDesc, TrimsAtBothEnds) {
  const IoDesc d{100, 50, 3};
  EXPECT_EQ(d.without_prefix(20), (IoDesc{120, 30, 3}));
  EXPECT_EQ(d.prefix(20), (IoDesc{100, 20, 3}));
  EXPECT_TRUE(d.without_prefix(50).empty());
}

TEST(IoDesc, AdjoinsOnlyInTheSameRegionWithoutOverflow) {
  const IoDesc d{100, 50, 3};
  EXPECT_TRUE(d.adjoins({150, 1, 3}));
  EXPECT_FALSE(d.adjoins({150, 1, 4}));
  EXPECT_FALSE(d.adjoins({151, 1, 3}));
  EXPECT_FALSE((IoDesc{0, 0xffffffff, 3}.adjoins({0xffffffff, 1, 3})));
}

TEST(Packet, MergesPartsThatAdjoin) {
  Packet p;
  EXPECT_TRUE(p.append_part({0, 100, 1}));
  EXPECT_TRUE(p.append_part({100, 20, 1}));
  EXPECT_EQ(p.part_count, 1);
  EXPECT_EQ(p.payload_length, 120u);
  EXPECT_TRUE(p.append_part({200, 1, 1}));
  EXPECT_EQ(p.part_count, 2);
}

TEST(Packet, RefusesMorePartsThanItHas) {
  Packet p;
  for (uint64_t i = 0; i < Packet::kMaxPayloadParts; ++i) EXPECT_TRUE(p.append_part({i * 10, 1, 1}));
  EXPECT_FALSE(p.append_part({1000, 1, 1}));
  EXPECT_EQ(p.payload_length, Packet::kMaxPayloadParts);
}

TEST(Packet, HeadersGrowAtTheEnd) {
  Packet p;
  store_be16(p.append_header(2), 0, 0x1234);
  store_be16(p.append_header(2), 0, 0x5678);
  EXPECT_EQ(load_be32(p.header_bytes(), 0), 0x12345678u);
  EXPECT_EQ(p.frame_length(), 4u);
}

}  // namespace
}  // namespace ferry::buf

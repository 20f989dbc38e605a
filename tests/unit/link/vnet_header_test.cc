#include "link/vnet_header.h"

#include <gtest/gtest.h>

namespace ferry::link {
namespace {

TEST(VnetHeader, RoundTripsEveryKindOfOffload) {
  for (const auto gso : {buf::GsoType::none, buf::GsoType::tcp_v4, buf::GsoType::tcp_v6, buf::GsoType::udp_l4}) {
    for (const bool needs : {false, true}) {
      for (const bool ecn : {false, true}) {
        buf::Offload o;
        o.gso_type = gso;
        o.gso_size = gso == buf::GsoType::none ? 0 : 1448;
        o.needs_checksum = needs;
        if (needs) o.checksum_start = 34, o.checksum_offset = 16;
        o.ecn = ecn && (gso == buf::GsoType::tcp_v4 || gso == buf::GsoType::tcp_v6);
        buf::Offload back;
        ASSERT_TRUE(decode_vnet(encode_vnet(o, 66), 60000, back));
        EXPECT_EQ(back.gso_type, o.gso_type);
        EXPECT_EQ(back.gso_size, o.gso_size);
        EXPECT_EQ(back.needs_checksum, o.needs_checksum);
        EXPECT_EQ(back.checksum_start, o.checksum_start);
        EXPECT_EQ(back.checksum_offset, o.checksum_offset);
        EXPECT_EQ(back.ecn, o.ecn);
        EXPECT_FALSE(back.checksum_valid);
      }
    }
  }
}

// Numbers from virtio 1.2, section 5.1.6.
TEST(VnetHeader, HasTheNumbersOfTheSpecification) {
  buf::Offload o;
  o.needs_checksum = true;
  o.gso_type = buf::GsoType::tcp_v4;
  o.gso_size = 1448;
  o.ecn = true;
  const VnetHeader h = encode_vnet(o, 66);
  EXPECT_EQ(h.flags, 1);
  EXPECT_EQ(h.gso_type, 0x81);
  EXPECT_EQ(h.header_length, 66);
  EXPECT_EQ(h.gso_size, 1448);
  o.ecn = false;
  o.gso_type = buf::GsoType::udp_l4;
  EXPECT_EQ(encode_vnet(o, 42).gso_type, 5);
  VnetHeader valid;
  valid.flags = 2;
  buf::Offload back;
  ASSERT_TRUE(decode_vnet(valid, 100, back));
  EXPECT_TRUE(back.checksum_valid);
}

TEST(VnetHeader, RefusesWhatItDoesNotKnowOrWhatPointsOutside) {
  buf::Offload o;
  VnetHeader h;
  h.gso_type = 3;  // UDP fragmentation, long gone
  h.gso_size = 1000;
  EXPECT_FALSE(decode_vnet(h, 2000, o));
  h = {};
  h.gso_type = 1;  // super-segment of size zero
  EXPECT_FALSE(decode_vnet(h, 2000, o));
  h = {};
  h.flags = 1;
  h.checksum_start = 90;
  h.checksum_offset = 8;
  EXPECT_TRUE(decode_vnet(h, 100, o));
  EXPECT_FALSE(decode_vnet(h, 99, o));
  h.checksum_start = h.checksum_offset = 0xffff;
  EXPECT_FALSE(decode_vnet(h, 2000, o));
}

}  // namespace
}  // namespace ferry::link

#include "wire/address.h"

#include <gtest/gtest.h>

#include "wire/seq_num.h"

namespace ferry::wire {
namespace {

TEST(Ipv4Prefix, ContainsAndBroadcast) {
  constexpr Ipv4Prefix net{Ipv4Address::of(10, 9, 0, 1), 24};
  EXPECT_TRUE(net.contains(Ipv4Address::of(10, 9, 0, 255)));
  EXPECT_FALSE(net.contains(Ipv4Address::of(10, 9, 1, 0)));
  EXPECT_EQ(net.broadcast(), Ipv4Address::of(10, 9, 0, 255));
  EXPECT_TRUE((Ipv4Prefix{{}, 0}.contains(Ipv4Address::of(255, 255, 255, 255))));
  EXPECT_FALSE((Ipv4Prefix{Ipv4Address::of(1, 2, 3, 4), 32}.contains(Ipv4Address::of(1, 2, 3, 5))));
}

TEST(IpAddress, MappedAndBack) {
  const auto a = Ipv4Address::of(192, 0, 2, 7);
  const IpAddress mapped = IpAddress::from(a);
  EXPECT_TRUE(mapped.is_v4());
  EXPECT_EQ(mapped.v4(), a);
  EXPECT_EQ(mapped.octets[10], 0xff);
  EXPECT_TRUE(IpAddress::from(Ipv4Address{}).is_any());
  IpAddress v6;
  v6.octets[0] = 0x20;
  EXPECT_FALSE(v6.is_v4());
}

TEST(MacAddress, Groups) {
  EXPECT_TRUE(MacAddress::broadcast().is_group());
  EXPECT_TRUE((MacAddress{{1, 0, 0x5e, 0, 0, 1}}.is_group()));
  EXPECT_FALSE((MacAddress{{2, 0, 0, 0, 0, 1}}.is_group()));
}

TEST(SeqNum, ComparesAcrossTheWrap) {
  EXPECT_LT(SeqNum(0xfffffff0), SeqNum(0x10));
  EXPECT_GT(SeqNum(0x10), SeqNum(0xfffffff0));
  EXPECT_EQ(SeqNum(0x10) - SeqNum(0xfffffff0), 0x20);
  EXPECT_EQ(SeqNum(0xfffffff0) + 0x20, SeqNum(0x10));
  EXPECT_LE(SeqNum(5), SeqNum(5));
}

}  // namespace
}  // namespace ferry::wire

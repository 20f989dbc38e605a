#include "net/route.h"

#include <gtest/gtest.h>

namespace ferry::net {
namespace {

using wire::Ipv4Address;

TEST(RouteTable, LongestPrefixWins) {
  RouteTable t;
  ASSERT_TRUE(t.add({{{}, 0}, Ipv4Address::of(10, 9, 0, 254), 0}));
  ASSERT_TRUE(t.add({{Ipv4Address::of(10, 9, 0, 0), 24}, {}, 1}));
  ASSERT_TRUE(t.add({{Ipv4Address::of(10, 0, 0, 0), 8}, {}, 2}));
  ASSERT_TRUE(t.add({{Ipv4Address::of(10, 9, 0, 7), 32}, {}, 3}));
  EXPECT_EQ(t.find(Ipv4Address::of(10, 9, 0, 7))->link, 3u);
  EXPECT_EQ(t.find(Ipv4Address::of(10, 9, 0, 8))->link, 1u);
  EXPECT_EQ(t.find(Ipv4Address::of(10, 8, 0, 8))->link, 2u);
  EXPECT_EQ(t.find(Ipv4Address::of(192, 0, 2, 1))->link, 0u);
}

TEST(RouteTable, WithoutADefaultThereMayBeNone) {
  RouteTable t;
  EXPECT_EQ(t.find(Ipv4Address::of(1, 1, 1, 1)), nullptr);
  ASSERT_TRUE(t.add({{Ipv4Address::of(10, 9, 0, 0), 24}, {}, 0}));
  EXPECT_EQ(t.find(Ipv4Address::of(10, 9, 1, 0)), nullptr);
}

TEST(RouteTable, HostBitsAreCutAndTheSameRouteIsReplaced) {
  RouteTable t;
  ASSERT_TRUE(t.add({{Ipv4Address::of(10, 9, 0, 77), 24}, {}, 0}));
  ASSERT_TRUE(t.add({{Ipv4Address::of(10, 9, 0, 78), 24}, Ipv4Address::of(10, 9, 0, 254), 0}));
  EXPECT_EQ(t.size(), 1u);
  EXPECT_EQ(t[0].destination.address, Ipv4Address::of(10, 9, 0, 0));
  EXPECT_EQ(t.find(Ipv4Address::of(10, 9, 0, 1))->gateway, Ipv4Address::of(10, 9, 0, 254));
}

TEST(RouteTable, AmongEqualsTheFirst) {
  RouteTable t;
  ASSERT_TRUE(t.add({{{}, 0}, Ipv4Address::of(10, 0, 0, 1), 0}));
  ASSERT_TRUE(t.add({{{}, 0}, Ipv4Address::of(10, 0, 1, 1), 1}));
  EXPECT_EQ(t.find(Ipv4Address::of(8, 8, 8, 8))->link, 0u);
}

TEST(RouteTable, IsBounded) {
  RouteTable t;
  for (uint32_t i = 0; i < RouteTable::kMaxRoutes; ++i) ASSERT_TRUE(t.add({{{i << 8}, 24}, {}, 0}));
  EXPECT_EQ(t.add({{{0xff000000}, 24}, {}, 0}).error(), Errc::too_many);
  EXPECT_TRUE(t.add({{{0}, 24}, {}, 0}));  // a replacement fits
  EXPECT_EQ(t.add({{{0}, 33}, {}, 0}).error(), Errc::invalid);
}

}  // namespace
}  // namespace ferry::net

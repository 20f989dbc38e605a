// Flows are found by all of protocol and endpoints; growing loses none; the cache of the last flow does not outlive it.
#include "stack/flow_table.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace ferry::stack {
namespace {

wire::Endpoint endpoint(uint8_t host, uint16_t port) {
  return {wire::IpAddress::from(wire::Ipv4Address::of(10, 0, 0, host)), port};
}

TEST(FlowTable, TellsFlowsApart) {
  FlowTable table({1, 2});
  Flow a, b;
  a.local = b.local = endpoint(1, 80);
  a.remote = endpoint(2, 1000);
  b.remote = endpoint(2, 1001);
  a.protocol = b.protocol = 6;
  ASSERT_TRUE(table.insert(a).ok());
  ASSERT_TRUE(table.insert(b).ok());
  EXPECT_EQ(table.find(6, endpoint(1, 80), endpoint(2, 1000)), &a);
  EXPECT_EQ(table.find(6, endpoint(1, 80), endpoint(2, 1001)), &b);
  EXPECT_EQ(table.find(17, endpoint(1, 80), endpoint(2, 1001)), nullptr);
  EXPECT_EQ(table.find(6, endpoint(1, 81), endpoint(2, 1001)), nullptr);
  EXPECT_EQ(table.find(6, endpoint(3, 80), endpoint(2, 1001)), nullptr);
}

TEST(FlowTable, RefusesASecondFlowWithTheSameEndpoints) {
  FlowTable table({1, 2});
  Flow a, b;
  a.local = b.local = endpoint(1, 80);
  a.remote = b.remote = endpoint(2, 1000);
  ASSERT_TRUE(table.insert(a).ok());
  EXPECT_EQ(table.insert(b).error(), Errc::address_in_use);
  table.erase(a);
  EXPECT_TRUE(table.insert(b).ok());
}

TEST(FlowTable, ForgetsTheLastFlowWhenItIsErased) {
  FlowTable table({1, 2});
  Flow a;
  a.local = endpoint(1, 80);
  a.remote = endpoint(2, 1000);
  a.protocol = 6;
  ASSERT_TRUE(table.insert(a).ok());
  EXPECT_EQ(table.find(6, a.local, a.remote), &a);
  table.erase(a);
  EXPECT_EQ(table.find(6, a.local, a.remote), nullptr);
  table.erase(a);  // harmless
  EXPECT_EQ(table.size(), 0u);
}

TEST(FlowTable, GrowsWithoutLosingAnyone) {
  FlowTable table({1, 2});
  std::vector<std::unique_ptr<Flow>> flows;
  for (int i = 0; i < 5000; ++i) {
    flows.push_back(std::make_unique<Flow>());
    flows.back()->local = endpoint(1, 80);
    flows.back()->remote = endpoint(static_cast<uint8_t>(i / 2000), static_cast<uint16_t>(1 + i % 2000));
    flows.back()->protocol = 6;
    ASSERT_TRUE(table.insert(*flows.back()).ok());
  }
  for (auto& f : flows) ASSERT_EQ(table.find(6, f->local, f->remote), f.get());
  for (auto& f : flows) table.erase(*f);
  EXPECT_EQ(table.size(), 0u);
}

TEST(FlowTable, HashDependsOnTheKey) {
  const FlowTable a({1, 2}), b({1, 3});
  EXPECT_NE(a.hash(6, endpoint(1, 80), endpoint(2, 1000)), b.hash(6, endpoint(1, 80), endpoint(2, 1000)));
  wire::Endpoint v6;
  v6.address.octets[0] = 0x20;
  EXPECT_NE(a.hash(6, v6, v6), a.hash(6, endpoint(1, 0), endpoint(1, 0)));
}

}  // namespace
}  // namespace ferry::stack

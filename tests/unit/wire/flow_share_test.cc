#include "wire/flow_share.h"

#include <gtest/gtest.h>

namespace ferry::wire {
namespace {

const Ipv4Address kOurs = Ipv4Address::of(10, 9, 0, 1);

TEST(FlowShare, SpreadsTheFlowsOfOneClientAndOfManyEvenly) {
  for (uint32_t count : {2u, 3u, 4u, 8u}) {
    std::vector<uint32_t> ports(count), hosts(count);
    constexpr uint32_t kFlows = 16000;
    for (uint32_t i = 0; i < kFlows; ++i) {
      ++ports[share_of_flow(kOurs, 80, Ipv4Address::of(10, 9, 0, 2), static_cast<uint16_t>(32768 + i), count)];
      ++hosts[share_of_flow(kOurs, 80, Ipv4Address{Ipv4Address::of(10, 20, 0, 0).value + i}, 40000, count)];
    }
    for (uint32_t i = 0; i < count; ++i) {
      EXPECT_NEAR(ports[i], kFlows / count, kFlows / count / 10) << i << " of " << count;
      EXPECT_NEAR(hosts[i], kFlows / count, kFlows / count / 10) << i << " of " << count;
    }
  }
}

TEST(FlowShare, OneStackHasEverything) {
  EXPECT_EQ(share_of_flow(kOurs, 1, kOurs, 2, 1), 0u);
}

}  // namespace
}  // namespace ferry::wire

#include "server/shared_ports.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>

namespace ferry::server {
namespace {

stack::Endpoint at(uint16_t port, uint8_t host = 0) {
  stack::Endpoint e;
  if (host != 0) e.address = wire::IpAddress::from(wire::Ipv4Address::of(10, 9, 0, host));
  e.port = port;
  return e;
}

TEST(SharedPorts, APortIsHeldUntilTheClaimEnds) {
  SharedPorts ports;
  auto first = ports.claim({at(80)});
  ASSERT_TRUE(first.ok());
  EXPECT_EQ((*first)->port(), 80);
  EXPECT_EQ(ports.claim({at(80)}).error(), Errc::address_in_use);
  EXPECT_EQ(ports.claim({at(80, 1)}).error(), Errc::address_in_use);
  EXPECT_TRUE(ports.claim({at(81)}).ok());
  first->reset();
  EXPECT_TRUE(ports.claim({at(80)}).ok());
}

TEST(SharedPorts, SharesAsBindDoes) {
  SharedPorts ports;
  auto a = ports.claim({at(80), 0, 7, true, false});
  ASSERT_TRUE(a.ok());
  EXPECT_EQ(ports.claim({at(80), 0, 7, false, false}).error(), Errc::address_in_use);
  auto b = ports.claim({at(80), 0, 7, true, false});
  ASSERT_TRUE(b.ok()) << "both have SO_REUSEADDR, and none listens";
  EXPECT_TRUE(ports.listen(**a).ok());
  EXPECT_EQ(ports.listen(**b).error(), Errc::address_in_use);
  EXPECT_EQ(ports.claim({at(80), 0, 7, true, false}).error(), Errc::address_in_use) << "one listens";
  auto c = ports.claim({at(90), 0, 7, false, true});
  EXPECT_TRUE(ports.claim({at(90), 0, 7, false, true}).ok());
  EXPECT_EQ(ports.claim({at(90), 0, 8, false, true}).error(), Errc::address_in_use) << "another user";
}

TEST(SharedPorts, AnyPortIsAFreeOne) {
  SharedPorts ports;
  std::vector<std::unique_ptr<SharedPorts::Claim>> held;
  std::set<uint16_t> seen;
  for (uint32_t i = 0; i < 200; ++i) {
    auto claim = ports.claim({at(0), i % 3});
    ASSERT_TRUE(claim.ok());
    EXPECT_TRUE(seen.insert((*claim)->port()).second);
    held.push_back(std::move(*claim));
  }
}

TEST(SharedPorts, ManyThreads) {
  SharedPorts ports;
  std::atomic<int> holders{0}, won{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        auto claim = ports.claim({at(80)});
        if (!claim) continue;
        EXPECT_EQ(holders.fetch_add(1), 0);
        ++won;
        holders.fetch_sub(1);
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_GT(won.load(), 0);
}

}  // namespace
}  // namespace ferry::server

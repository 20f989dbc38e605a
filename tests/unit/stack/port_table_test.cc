// Who may share a port: the table of socket(7) and ip(7), as Linux has it.
#include "stack/port_table.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace ferry::stack {
namespace {

const wire::IpAddress kAny{};
const wire::IpAddress kOne = wire::IpAddress::from(wire::Ipv4Address::of(10, 0, 0, 1));
const wire::IpAddress kTwo = wire::IpAddress::from(wire::Ipv4Address::of(10, 0, 0, 2));

struct PortTableTest : testing::Test {
  PortTable ports{100, 103};
  Binding a, b;
  void TearDown() override {
    ports.release(a);
    ports.release(b);
  }
  Errc second() { return ports.bind(b, 80).error(); }
  void first() { ASSERT_TRUE(ports.bind(a, 80).ok()); }
};

TEST_F(PortTableTest, OnePortOneHolder) {
  first();
  EXPECT_EQ(second(), Errc::address_in_use);
  ports.release(a);
  EXPECT_EQ(second(), Errc::ok);
}

TEST_F(PortTableTest, DifferentAddressesDoNotConflictButAnyDoes) {
  a.bound_address = kOne;
  b.bound_address = kTwo;
  first();
  EXPECT_EQ(second(), Errc::ok);
  ports.release(b);
  b.bound_address = kAny;
  EXPECT_EQ(second(), Errc::address_in_use);
}

TEST_F(PortTableTest, ReuseAddressNeedsBothAndNoListener) {
  b.reuse_address = true;
  first();
  EXPECT_EQ(second(), Errc::address_in_use);
  ports.set_reuse_address(a, true);
  EXPECT_EQ(second(), Errc::ok);
  ports.release(b);
  ports.set_listening(a, true);
  EXPECT_EQ(second(), Errc::address_in_use);
}

TEST_F(PortTableTest, ReusePortNeedsBothAndOneUser) {
  a.reuse_port = b.reuse_port = true;
  a.listening = true;
  a.uid = 1000;
  b.uid = 1001;
  first();
  EXPECT_EQ(second(), Errc::address_in_use);
  b.uid = 1000;
  EXPECT_EQ(second(), Errc::ok);
}

TEST_F(PortTableTest, TimeWaitYieldsToReuseAddress) {
  a.in_time_wait = true;
  first();
  EXPECT_EQ(second(), Errc::address_in_use);
  ports.set_reuse_address(a, true);
  ports.set_reuse_address(b, true);
  EXPECT_EQ(second(), Errc::ok);
}

TEST_F(PortTableTest, AskingForAnyPortSharesWithNobody) {
  a.reuse_address = b.reuse_address = true;
  std::vector<std::unique_ptr<Binding>> all;
  for (int i = 0; i < 4; ++i) {
    all.push_back(std::make_unique<Binding>());
    all.back()->reuse_address = true;
    auto port = ports.bind_ephemeral(*all.back(), 77);
    ASSERT_TRUE(port.ok());
    EXPECT_GE(*port, 100);
    EXPECT_LE(*port, 103);
  }
  EXPECT_EQ(ports.bind_ephemeral(a, 0).error(), Errc::address_in_use);
  for (auto& x : all) ports.release(*x);
}

TEST_F(PortTableTest, ConnectSharesPortsWithOtherConnectsOnly) {
  auto first_port = ports.bind_automatic(a, 0, [](uint16_t) { return true; });
  auto second_port = ports.bind_automatic(b, 0, [](uint16_t) { return true; });
  ASSERT_TRUE(first_port.ok() && second_port.ok());
  EXPECT_EQ(*first_port, *second_port);
  Binding named;
  named.bound_address = kOne;
  a.bound_address = b.bound_address = kTwo;
  ASSERT_TRUE(ports.bind(named, *first_port).ok());
  Binding third;
  auto third_port = ports.bind_automatic(third, 0, [](uint16_t) { return true; });
  ASSERT_TRUE(third_port.ok());
  EXPECT_NE(*third_port, *first_port);
  ports.release(named);
  ports.release(third);
}

TEST_F(PortTableTest, ConnectRunsOutOfPorts) {
  EXPECT_EQ(ports.bind_automatic(a, 0, [](uint16_t) { return false; }).error(), Errc::address_not_available);
  EXPECT_FALSE(a.bound());
}

TEST_F(PortTableTest, BucketsGoWithTheirLastHolder) {
  first();
  EXPECT_NE(ports.find(80), nullptr);
  ports.add_receiver(a);
  ports.release(a);
  EXPECT_EQ(ports.find(80), nullptr);
}

// The rules, as the manual has them, asked of every holder.
bool may_join(const Binding& b, const std::vector<std::unique_ptr<Binding>>& all) {
  for (const auto& other : all) {
    if (other.get() == &b || !other->bound()) continue;
    if (other->bound_address != b.bound_address && !other->bound_address.is_any() && !b.bound_address.is_any()) continue;
    if (b.reuse_address && other->reuse_address && !other->listening) continue;
    if (b.reuse_port && other->reuse_port && (other->in_time_wait || other->uid == b.uid)) continue;
    return false;
  }
  return true;
}

TEST_F(PortTableTest, WhatItCountsAgreesWithTheRules) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    Rng rng(seed);
    std::vector<std::unique_ptr<Binding>> all;
    for (int i = 0; i < 8; ++i) {
      auto& x = *all.emplace_back(std::make_unique<Binding>());
      x.uid = rng.below(8) == 0 ? 1 : 0;
      x.bound_address = rng.below(4) == 0 ? kOne : rng.below(4) == 0 ? kTwo : kAny;
      x.in_time_wait = rng.below(8) == 0;
      x.reuse_address = rng.below(4) != 0;
      x.reuse_port = rng.below(4) != 0;
    }
    for (int step = 0; step < 200; ++step) {
      Binding& x = *all[rng.below(8)];
      switch (rng.below(6)) {
        case 0: ports.set_reuse_address(x, rng.below(4) != 0); break;
        case 1: ports.set_reuse_port(x, rng.below(4) != 0); break;
        case 2: ports.set_listening(x, rng.below(4) == 0); break;
        case 3: ports.release(x); break;
        default:
          if (x.bound()) {
            EXPECT_EQ(ports.conflicts(x), !may_join(x, all)) << seed << " " << step;
          } else {
            const bool free = may_join(x, all);
            EXPECT_EQ(ports.bind(x, 80).ok(), free) << seed << " " << step;
          }
      }
    }
    for (auto& x : all) ports.release(*x);
  }
}

}  // namespace
}  // namespace ferry::stack

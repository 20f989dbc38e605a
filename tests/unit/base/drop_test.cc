#include "base/drop.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/counters.h"

namespace ferry {
namespace {

TEST(Drop, EveryReasonHasItsOwnName) {
  std::set<std::string> names;
  for (uint32_t i = 0; i < kDropReasons; ++i) {
    const std::string name = drop_name(static_cast<Drop>(i));
    EXPECT_EQ(name.substr(0, 5), "drop_");
    EXPECT_TRUE(names.insert(name).second) << name;
  }
  EXPECT_FALSE(names.contains("drop_unknown"));
  EXPECT_STREQ(drop_name(static_cast<Drop>(kDropReasons)), "drop_unknown");
}

TEST(Counters, VisitsAllByNameOnce) {
  Counters c;
  c.udp_in = 7;
  c.drop(Drop::ip_checksum);
  c.drop(Drop::ip_checksum);
  std::set<std::string> names;
  uint64_t udp_in = 0, bad = 0, sum = 0;
  c.for_each([&](const char* name, uint64_t value) {
    EXPECT_TRUE(names.insert(name).second) << name;
    if (std::string(name) == "udp_in") udp_in = value;
    if (std::string(name) == "drop_ip_checksum") bad = value;
    sum += value;
  });
  EXPECT_EQ(udp_in, 7u);
  EXPECT_EQ(bad, 2u);
  EXPECT_EQ(sum, 9u);
  EXPECT_EQ(c.dropped(Drop::ip_checksum), 2u);
}

}  // namespace
}  // namespace ferry

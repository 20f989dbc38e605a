#include "tcp/isn.h"

#include <gtest/gtest.h>

namespace ferry::tcp {
namespace {

wire::Endpoint endpoint(uint8_t last, uint16_t port) {
  return {wire::IpAddress::from(wire::Ipv4Address::of(10, 9, 0, last)), port};
}

TEST(Isn, TicksEveryFourMicroseconds) {
  SipKey key{1, 2};
  SeqNum a = initial_sequence(Instant(), key, endpoint(1, 80), endpoint(2, 4000));
  SeqNum b = initial_sequence(Instant() + Duration::seconds(1), key, endpoint(1, 80), endpoint(2, 4000));
  EXPECT_EQ(b - a, 250'000);
}

TEST(Isn, DependsOnEveryAddressPortAndTheKey) {
  SipKey key{1, 2};
  SeqNum base = initial_sequence(Instant(), key, endpoint(1, 80), endpoint(2, 4000));
  EXPECT_NE(base, initial_sequence(Instant(), key, endpoint(1, 81), endpoint(2, 4000)));
  EXPECT_NE(base, initial_sequence(Instant(), key, endpoint(1, 80), endpoint(2, 4001)));
  EXPECT_NE(base, initial_sequence(Instant(), key, endpoint(3, 80), endpoint(2, 4000)));
  EXPECT_NE(base, initial_sequence(Instant(), key, endpoint(1, 80), endpoint(3, 4000)));
  EXPECT_NE(base, initial_sequence(Instant(), {1, 3}, endpoint(1, 80), endpoint(2, 4000)));
}

TEST(Isn, TimestampOffsetIsOfTheHostsNotOfThePorts) {
  SipKey key{1, 2};
  uint32_t a = timestamp_offset(key, endpoint(1, 80).address, endpoint(2, 1).address);
  EXPECT_EQ(a, timestamp_offset(key, endpoint(1, 99).address, endpoint(2, 7).address));
  EXPECT_NE(a, timestamp_offset(key, endpoint(1, 80).address, endpoint(3, 1).address));
}

}  // namespace
}  // namespace ferry::tcp

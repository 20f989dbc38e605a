#include "server/frame_passing.h"

#include <gtest/gtest.h>

#include "wire/arp.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"

namespace ferry::server {
namespace {

const wire::Ipv4Address kOurs = wire::Ipv4Address::of(10, 9, 0, 1), kTheirs = wire::Ipv4Address::of(10, 9, 0, 2);

using Bytes = std::vector<std::byte>;

Bytes ethernet(uint16_t type, size_t length) {
  Bytes b(wire::kEthernetHeaderBytes + length);
  wire::EthernetFields{wire::MacAddress::broadcast(), {}, type}.emit(b);
  return b;
}
Bytes ip(uint8_t protocol, const Bytes& payload, bool more_fragments = false) {
  Bytes b = ethernet(wire::kEtherIpv4, wire::kIpv4HeaderBytes + payload.size());
  wire::Ipv4Fields f;
  f.total_length = static_cast<uint16_t>(wire::kIpv4HeaderBytes + payload.size());
  f.more_fragments = more_fragments;
  f.protocol = protocol;
  f.source = kTheirs;
  f.destination = kOurs;
  f.emit(MutableByteSpan(b).subspan(wire::kEthernetHeaderBytes));
  std::copy(payload.begin(), payload.end(), b.end() - static_cast<std::ptrdiff_t>(payload.size()));
  return b;
}
Bytes tcp(uint16_t from, uint16_t to) {
  Bytes b(20);
  store_be16(b, 0, from);
  store_be16(b, 2, to);
  return b;
}
Bytes icmp(uint8_t type) {
  Bytes b(36);
  b[0] = std::byte{type};
  return b;
}
stack::Endpoint theirs(uint16_t port) { return {wire::IpAddress::from(kTheirs), port}; }

TEST(ConcernsAll, ArpErrorsAndFragmentsOfTcp) {
  EXPECT_TRUE(concerns_all(ethernet(wire::kEtherArp, 28)));
  EXPECT_TRUE(concerns_all(ip(wire::kProtocolTcp, tcp(1, 2), true)));
  for (uint8_t type : {3, 11, 12}) EXPECT_TRUE(concerns_all(ip(wire::kProtocolIcmp, icmp(type)))) << int{type};
  for (uint8_t type : {0, 8}) EXPECT_FALSE(concerns_all(ip(wire::kProtocolIcmp, icmp(type)))) << int{type};
  EXPECT_FALSE(concerns_all(ip(wire::kProtocolTcp, tcp(1, 2))));
  EXPECT_FALSE(concerns_all(ip(wire::kProtocolUdp, tcp(1, 2), true)));
  EXPECT_FALSE(concerns_all(ethernet(wire::kEtherIpv4, 3)));
  EXPECT_FALSE(concerns_all({}));
}

TEST(StrayFlows, AreFoundByPortAndPeer) {
  StrayFlows flows;
  const auto find = [&](const Bytes& frame) { return flows.find(buf::Frame{frame, {}}); };
  EXPECT_EQ(find(ip(wire::kProtocolTcp, tcp(80, 5000))), StrayFlows::kNone);
  flows.add(5000, theirs(80), 2);
  EXPECT_EQ(find(ip(wire::kProtocolTcp, tcp(80, 5000))), 2u);
  EXPECT_EQ(find(ip(wire::kProtocolTcp, tcp(81, 5000))), StrayFlows::kNone);
  EXPECT_EQ(find(ip(wire::kProtocolTcp, tcp(80, 5001))), StrayFlows::kNone);
  EXPECT_EQ(find(ip(wire::kProtocolUdp, tcp(80, 5000))), StrayFlows::kNone);
  EXPECT_EQ(find(ip(wire::kProtocolTcp, tcp(80, 5000), true)), StrayFlows::kNone);
  EXPECT_EQ(find(ip(wire::kProtocolTcp, Bytes(3))), StrayFlows::kNone);
  flows.remove(5000, theirs(80));
  EXPECT_EQ(find(ip(wire::kProtocolTcp, tcp(80, 5000))), StrayFlows::kNone);
}

}  // namespace
}  // namespace ferry::server

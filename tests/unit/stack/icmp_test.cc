// ICMP errors reach the connection that they quote, if they quote something in flight (RFC 5927).
#include <gtest/gtest.h>

#include "support/stack_pair.h"
#include "tcp/connection.h"
#include "wire/checksum.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"

namespace ferry::stack {
namespace {

using support::StackPair;

// "Destination unreachable" about a frame of side 0, as its neighbour would send it; `shift` falsifies the quoted sequence number.
std::vector<std::byte> unreachable(const std::vector<std::byte>& about, uint8_t code, uint16_t mtu = 0, uint32_t shift = 0) {
  std::vector<std::byte> quote(about.begin() + 14, about.begin() + 14 + 28);
  store_be32(quote, 24, load_be32(quote, 24) + shift);
  wire::IcmpFields icmp;
  icmp.type = wire::kIcmpUnreachable;
  icmp.code = code;
  icmp.rest = mtu;
  icmp.seal(quote);
  std::vector<std::byte> frame(14 + 20 + 8);
  wire::EthernetFields{wire::load_mac(about, 6), wire::load_mac(about, 0), wire::kEtherIpv4}.emit(frame);
  wire::Ipv4Fields ip;
  ip.protocol = wire::kProtocolIcmp;
  ip.source = wire::Ipv4Address::of(10, 9, 0, 2);
  ip.destination = wire::Ipv4Address::of(10, 9, 0, 1);
  ip.total_length = static_cast<uint16_t>(28 + quote.size());
  ip.emit(MutableByteSpan(frame).subspan(14));
  icmp.emit(MutableByteSpan(frame).subspan(34));
  frame.insert(frame.end(), quote.begin(), quote.end());
  return frame;
}

struct IcmpTest : testing::Test {
  StackPair p;
  SocketId l = p.listener(1, 80);
  StackPair::Connected c = p.connected(0, l, 80);
  std::vector<std::byte> last_sent(size_t longer_than) {
    for (auto it = p.sent[0].rbegin(); it != p.sent[0].rend(); ++it)
      if (it->size() > longer_than) return *it;
    return {};
  }
};

TEST_F(IcmpTest, AConnectFailsOnPortUnreachable) {
  p.filter = [](int, std::vector<std::byte>&) { return false; };
  const SocketId s = p.open(0);
  p.connect(0, s, StackPair::at(1, 81));
  const auto syn = last_sent(60);
  p.stack(0).on_frame(p.now(), 0, {unreachable(syn, wire::kPortUnreachable, 0, 5000), {}});  // a forged one
  EXPECT_EQ(p.info(0, s).error, Errc::ok);
  p.stack(0).on_frame(p.now(), 0, {unreachable(syn, wire::kPortUnreachable), {}});
  EXPECT_EQ(p.info(0, s).error, Errc::refused);
}

TEST_F(IcmpTest, AnEstablishedConnectionSurvivesPortUnreachable) {
  p.filter = [](int, std::vector<std::byte>&) { return false; };
  p.send(0, c.client, "data");
  p.stack(0).on_frame(p.now(), 0, {unreachable(last_sent(66), wire::kPortUnreachable), {}});
  p.filter = nullptr;
  p.run(Duration::seconds(2));
  EXPECT_EQ(p.receive(1, c.server), "data");
}

TEST_F(IcmpTest, FragmentationNeededMakesSegmentsSmaller) {
  const uint16_t before = p.info(0, c.client).mss;
  p.filter = [](int, std::vector<std::byte>&) { return false; };
  const std::string text(5000, 'x');
  p.send(0, c.client, text);
  p.stack(0).on_frame(p.now(), 0, {unreachable(last_sent(1000), wire::kFragmentationNeeded, 1000), {}});
  p.filter = [](int, std::vector<std::byte>& f) { return f.size() <= 1014; };
  p.run(Duration::seconds(5));
  EXPECT_EQ(p.receive(1, c.server), text);
  EXPECT_LT(p.info(0, c.client).mss, before);
}

TEST_F(IcmpTest, AnErrorAboutNobodyIsCounted) {
  p.send(0, c.client, "data");
  auto frame = last_sent(66);
  store_be16(frame, 34, 9999);
  p.stack(0).on_frame(p.now(), 0, {unreachable(frame, wire::kPortUnreachable), {}});
  EXPECT_EQ(p.counter(0, "drop_icmp_quote"), 1u);
}

}  // namespace
}  // namespace ferry::stack

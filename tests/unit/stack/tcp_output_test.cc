// Large segments: cut in software for a link that does not segment, left whole for one that does; checksums likewise.
#include <gtest/gtest.h>

#include "support/stack_pair.h"
#include "tcp/connection.h"
#include "wire/arp.h"
#include "wire/checksum.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

namespace ferry::stack {
namespace {

using support::StackPair;

std::vector<size_t> data_sizes(const StackPair& p, int side) {
  std::vector<size_t> sizes;
  for (const auto& f : p.sent[side]) {
    if (load_be16(f, 12) != wire::kEtherIpv4) continue;
    auto ip = wire::Ipv4View::parse(ByteSpan(f).subspan(14));
    auto tcp = wire::TcpView::parse(ip->payload());
    if (!tcp->payload().empty()) sizes.push_back(tcp->payload().size());
  }
  return sizes;
}

TEST(TcpOutput, SegmentsInSoftware) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  const auto c = p.connected(0, l, 80);
  const std::string text(10'000, 'a');
  p.send(0, c.client, text);
  p.run();
  EXPECT_EQ(p.receive(1, c.server), text);
  const auto sizes = data_sizes(p, 0);
  ASSERT_EQ(sizes.size(), 7u);
  for (size_t i = 0; i + 1 < sizes.size(); ++i) EXPECT_EQ(sizes[i], 1448u);
  // Only the last carries PSH; sequence numbers go on; every checksum is right.
  uint32_t next = 0;
  size_t n = 0;
  for (const auto& f : p.sent[0]) {
    if (load_be16(f, 12) != wire::kEtherIpv4) continue;
    auto ip = wire::Ipv4View::parse(ByteSpan(f).subspan(14));
    auto tcp = wire::TcpView::parse(ip->payload());
    EXPECT_TRUE(wire::checksum_ok(wire::pseudo_header(ip->source(), ip->destination(), 6, static_cast<uint32_t>(ip->payload().size())),
                                  ip->payload()));
    if (tcp->payload().empty()) continue;
    if (n++ > 0) {
      EXPECT_EQ(tcp->sequence().value(), next);
    }
    next = tcp->sequence().value() + static_cast<uint32_t>(tcp->payload().size());
    EXPECT_EQ((tcp->flags() & 8) != 0, n == sizes.size());
  }
}

TEST(TcpOutput, LeavesSegmentationToTheLink) {
  StackPair::Setup setup;
  setup.max_gso = 65'000;
  setup.checksum_tx = true;
  StackPair p(setup);
  const SocketId l = p.listener(1, 80);
  const auto c = p.connected(0, l, 80);
  const std::string text(10'000, 'a');
  p.send(0, c.client, text);
  p.run();
  EXPECT_EQ(p.receive(1, c.server), text);
  EXPECT_EQ(data_sizes(p, 0), std::vector<size_t>{10'000});
  EXPECT_EQ(p.counter(0, "payload_bytes_summed"), 0u);
}

TEST(TcpOutput, TosAndTtlAreOnThePackets) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  const SocketId s = p.open(0);
  p.set(0, s, Option::tos, 0x28);
  p.set(0, s, Option::ttl, 9);
  p.connect(0, s, StackPair::at(1, 80));
  p.run();
  int seen = 0;
  for (const auto& f : p.sent[0]) {
    if (load_be16(f, 12) != wire::kEtherIpv4) continue;
    auto ip = wire::Ipv4View::parse(ByteSpan(f).subspan(14));
    EXPECT_EQ(ip->tos() & ~3, 0x28);
    EXPECT_EQ(ip->ttl(), 9);
    EXPECT_TRUE(ip->dont_fragment());
    ++seen;
  }
  EXPECT_GT(seen, 1);
  EXPECT_EQ(p.accept(1, l).error, Errc::ok);
}

// An answer that lies about the next hop's address costs a few retransmissions, not the minute for which answers are believed.
TEST(TcpOutput, TimeoutsMakeTheNextHopSuspect) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  p.run(Duration::seconds(5));  // both have announced themselves
  int lies = 0;
  p.filter = [&lies](int side, std::vector<std::byte>& frame) {
    constexpr size_t kSenderMac = 14 + 8;
    if (side == 1 && load_be16(frame, 12) == wire::kEtherArp && load_be16(frame, 14 + 6) == wire::kArpReply && lies++ == 0)
      frame[kSenderMac + 1] ^= std::byte{0x10};
    return true;
  };
  const SocketId s = p.open(0);
  p.connect(0, s, StackPair::at(1, 80));
  p.run(Duration::seconds(1));
  EXPECT_EQ(lies, 1);
  EXPECT_EQ(p.counter(1, "tcp_segments_in"), 0u);
  p.run(Duration::seconds(20));
  EXPECT_TRUE(p.events_of(0, s) & static_cast<uint32_t>(tcp::Event::established));
  EXPECT_EQ(p.accept(1, l).error, Errc::ok);
}

}  // namespace
}  // namespace ferry::stack

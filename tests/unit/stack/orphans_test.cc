// Connections that linger after close(): there may be so many, they shut nobody out, and none stays for ever.
#include <gtest/gtest.h>

#include <set>

#include "support/stack_pair.h"
#include "tcp/connection.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"

namespace ferry::stack {
namespace {

using support::StackPair;

constexpr auto kClosed = static_cast<uint32_t>(tcp::Event::closed);

StackPair::Setup with(uint32_t max_sockets, uint32_t max_orphans) {
  StackPair::Setup setup;
  setup.config.max_sockets = max_sockets;
  setup.config.max_orphans = max_orphans;
  return setup;
}

// Side 0 closes connections whose peers are silent from then on.
struct Lingering {
  explicit Lingering(const StackPair::Setup& setup) : p(setup), listener(p.listener(1, 80)) {
    p.filter = [this](int side, std::vector<std::byte>& f) {
      return side == 0 || f.size() < 54 || !silent.contains(load_be16(f, wire::kEthernetHeaderBytes + wire::kIpv4HeaderBytes + 2));
    };
  }
  Owner close_one() {
    const auto c = p.connected(0, listener, 80);
    const Owner owner = p.owner_of(0, c.client);
    silent.insert(p.info(0, c.client).local.port);
    p.send(0, c.client, "never acknowledged");
    EXPECT_EQ(p.close(0, c.client), Errc::ok);
    p.abort(1, c.server);
    p.run(Duration::ms(1));
    return owner;
  }
  bool ended(Owner owner) { return (p.events(0, owner) & kClosed) != 0; }
  StackPair p;
  SocketId listener;
  std::set<uint16_t> silent;  // ports of side 0 that hear nothing
};

TEST(Orphans, BeyondTheBoundTheOldestIsReset) {
  Lingering l(with(64, 3));
  std::vector<Owner> owners;
  for (int i = 0; i < 3; ++i) owners.push_back(l.close_one());
  EXPECT_EQ(l.p.counter(0, "tcp_orphans"), 3u);
  EXPECT_EQ(l.p.counter(0, "tcp_orphans_reset"), 0u);
  const uint64_t resets = l.p.counter(0, "tcp_resets_out");
  owners.push_back(l.close_one());
  EXPECT_EQ(l.p.counter(0, "tcp_orphans"), 3u);
  EXPECT_EQ(l.p.counter(0, "tcp_orphans_reset"), 1u);
  EXPECT_EQ(l.p.counter(0, "tcp_resets_out"), resets + 1);
  EXPECT_TRUE(l.ended(owners[0]));
  for (int i = 1; i < 4; ++i) EXPECT_FALSE(l.ended(owners[static_cast<size_t>(i)])) << i;
}

TEST(Orphans, WithoutRoomForAnyClosingResets) {
  Lingering l(with(64, 0));
  EXPECT_TRUE(l.ended(l.close_one()));
  EXPECT_EQ(l.p.counter(0, "tcp_orphans"), 0u);
  EXPECT_EQ(l.p.counter(0, "tcp_orphans_reset"), 1u);
  EXPECT_EQ(l.p.counter(0, "sockets"), 0u);
}

TEST(Orphans, TheyTakeNoSocketsPlace) {
  Lingering l(with(2, 10));
  for (uint64_t i = 1; i <= 8; ++i) {
    l.close_one();
    EXPECT_EQ(l.p.counter(0, "tcp_orphans"), i);
  }
  EXPECT_NE(l.p.open(0), 0u);
  EXPECT_NE(l.p.open(0), 0u);
  EXPECT_EQ(l.p.open(0), 0u);
}

TEST(Orphans, TheyEndWhenThePeerAnswers) {
  Lingering l(with(64, 3));
  const Owner owner = l.close_one();
  l.silent.clear();
  l.p.run(Duration::seconds(2));
  EXPECT_TRUE(l.ended(owner));
  EXPECT_EQ(l.p.counter(0, "tcp_orphans"), 0u);
  EXPECT_EQ(l.p.counter(0, "tcp_orphans_reset"), 0u);
}

// A peer that says "no room" to every probe is alive, but nobody waits for it.
TEST(Orphans, AClosedWindowHoldsOneForMinutesOnly) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  const auto c = p.connected(0, l, 80);
  p.set(1, c.server, Option::receive_buffer, 4096);
  const std::string piece(32 << 10, 'x');
  while (p.stack(0).send_space(c.client) >= piece.size()) {
    p.send(0, c.client, piece);
    p.run(Duration::ms(10));
  }
  p.run(Duration::seconds(2));
  ASSERT_GT(p.info(0, c.client).send_queue, 0u);
  ASSERT_EQ(p.info(0, c.client).timer, TimerKind::persist);
  const Owner owner = p.owner_of(0, c.client);
  p.close(0, c.client);
  p.run(Duration::seconds(120));
  EXPECT_EQ(p.counter(0, "tcp_orphans"), 1u);
  p.run(Duration::seconds(480));
  EXPECT_EQ(p.counter(0, "tcp_orphans"), 0u);
  EXPECT_TRUE((p.events(0, owner) & kClosed) != 0);
}

TEST(Orphans, AreRestoredWithinTheBound) {
  Lingering l(with(64, 3));
  for (int i = 0; i < 3; ++i) l.close_one();
  l.p.rebuild(0);
  EXPECT_EQ(l.p.counter(0, "tcp_orphans"), 3u);
  l.close_one();
  EXPECT_EQ(l.p.counter(0, "tcp_orphans"), 3u);
  EXPECT_EQ(l.p.counter(0, "tcp_orphans_reset"), 1u);
}

}  // namespace
}  // namespace ferry::stack

// Descriptor pairs that serve one socket after another: numbers, spare sockets, giving back, quotas, hostile words.
#include "server/stock.h"

#include <poll.h>

#include "fixture.h"

namespace ferry::server {
namespace {

class StockTest : public ServerTest {
 protected:
  StockTest() : client(connect_client()), stock(client.channel()->stock()) {}

  // The client's K of a new pair, by its number.
  uint32_t make(bool stream = true) {
    UniqueFd k;
    uint32_t number = Pair::kNoNumber;
    EXPECT_TRUE(stock.make(stream, k, number));
    if (kept.size() <= number) kept.resize(number + 1);
    kept[number] = std::move(k);
    return number;
  }
  const abi::SpareRing& ring_of(bool stream = true) { return client.channel()->spares(stream ? 0 : 1); }
  abi::Spare spare(uint32_t index, bool stream = true) { return ring_of(stream).entries[index % abi::kMaxPairs]; }
  Socket& socket_of(const abi::Spare& s) {
    Socket* found = client.channel()->find(s.slot, s.generation);
    EXPECT_NE(found, nullptr);
    return *found;
  }
  void close_keeping_k(const abi::Spare& s) {
    Socket& socket = socket_of(s);
    atomic_or(client.channel()->shared(s.slot).wants, uint32_t{abi::kWantGiveBack});
    ring(socket);
  }
  // The stack has ended what was closed.
  void end(stack::Owner owner) {
    if (Socket* s = sockets.find(owner)) s->on_events(static_cast<uint32_t>(tcp::Event::closed));
    run();
  }
  bool has_hung_up(int k) {
    pollfd p{k, 0, 0};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP) != 0;
  }

  Client& client;
  Stock& stock;
  std::vector<UniqueFd> kept;
};

TEST_F(StockTest, ASpareSocketIsOpenInASlotAndUnknownToTheStackUntilItIsUsed) {
  const uint32_t number = make();
  EXPECT_EQ(ring_of().produced, 0u) << "nobody has asked for spare sockets";
  stock.want_spares(true);
  ASSERT_EQ(ring_of().produced, 1u);
  EXPECT_EQ(spare(0).pair, number);
  Socket& s = socket_of(spare(0));
  EXPECT_EQ(protocols.count(stack::CallOp::open), 0u);
  EXPECT_EQ(s.come_to_use(), Errc::ok);
  EXPECT_EQ(s.come_to_use(), Errc::ok);
  EXPECT_EQ(protocols.count(stack::CallOp::open), 1u);
  EXPECT_EQ(client.channel()->shared(spare(0).slot).mode, uint32_t{abi::kModeShared});
}

TEST_F(StockTest, KindsDoNotMix) {
  make(false);
  stock.want_spares(true);
  EXPECT_EQ(ring_of(true).produced, 0u);
  stock.want_spares(false);
  ASSERT_EQ(ring_of(false).produced, 1u);
  EXPECT_EQ(socket_of(spare(0, false)).type(), stack::SocketType::udp);
  EXPECT_EQ(stock.take(true), nullptr);
}

TEST_F(StockTest, AGivenBackPairServesTheNextSocket) {
  const uint32_t number = make();
  stock.want_spares(true);
  const abi::Spare first = spare(0);
  const stack::Owner owner = socket_of(first).owner();
  socket_of(first).come_to_use();
  write(client, socket_of(first), "last words");
  close_keeping_k(first);
  EXPECT_EQ(protocols.sent, "last words") << "what was written goes out in front of the end";
  EXPECT_EQ(protocols.count(stack::CallOp::close), 1u);
  ASSERT_EQ(ring_of().produced, 2u);
  const abi::Spare second = spare(1);
  EXPECT_EQ(second.pair, number);
  EXPECT_TRUE(second.slot != first.slot || second.generation != first.generation);
  EXPECT_FALSE(has_hung_up(kept[number].get()));
  EXPECT_EQ(counters.pairs_made, 1u);
  EXPECT_EQ(counters.pairs_given_back, 1u);
  end(owner);
  // K is the new socket's now: found by its identity, and its end is that socket's end.
  Socket& fresh = socket_of(second);
  EXPECT_EQ(sockets.find_by_cookie(socket_cookie(kept[number].get())), &fresh);
  kept[number].reset();
  run();
  EXPECT_EQ(client.channel()->find(second.slot, second.generation), nullptr);
}

TEST_F(StockTest, AKThatIsNotAsItWasOrNotAloneIsNotTakenBack) {
  const uint32_t number = make();
  stock.want_spares(true);
  const abi::Spare first = spare(0);
  socket_of(first).come_to_use();
  ASSERT_EQ(::send(kept[number].get(), "raw", 3, 0), 3);
  run();
  close_keeping_k(first);
  EXPECT_EQ(counters.pairs_given_back, 0u) << "there are bytes on it";

  make();
  stock.want_spares(true);
  const abi::Spare second = spare(1);
  Client& other = connect_client();
  socket_of(second).attach(*other.channel());
  close_keeping_k(second);
  EXPECT_EQ(counters.pairs_given_back, 0u) << "another process has it";
  EXPECT_EQ(protocols.count(stack::CallOp::close), 0u);
  kept.clear();
  run();
  EXPECT_GE(protocols.count(stack::CallOp::close), 1u) << "the hang-up ends it";
}

TEST_F(StockTest, GivingBackWhatHasNoNumberMeansNothing) {
  Socket& s = open(client);
  atomic_or(shared(client, s).wants, uint32_t{abi::kWantGiveBack | abi::kWantClose});
  ring(s);
  ring(s);
  EXPECT_EQ(counters.pairs_given_back, 0u);
  EXPECT_FALSE(s.finished());
}

TEST_F(StockTest, WhatTheClientClosesLeavesTheStockAndItsNumberIsFree) {
  const uint32_t number = make();
  make();
  kept[number].reset();
  run();
  EXPECT_EQ(make(), number);
  stock.want_spares(true);
  kept.clear();  // spare sockets and idle pairs
  run();
  EXPECT_EQ(client.channel()->socket_count(), 0u);
  EXPECT_EQ(sockets.size(), 0u);
}

TEST_F(StockTest, AnAcceptedConnectionTakesAnIdlePair) {
  const uint32_t number = make();
  auto pair = stock.take(true);
  ASSERT_NE(pair, nullptr);
  EXPECT_EQ(pair->number(), number);
  EXPECT_EQ(stock.take(true), nullptr);
  stock.give_back(std::move(pair));
  EXPECT_NE(stock.take(true), nullptr) << "and dropping it frees the number";
  EXPECT_EQ(make(), number);
}

TEST_F(StockTest, NumbersAndTheUsersQuotaBoundIt) {
  ctx.limits.stock_per_uid = 3;
  for (int i = 0; i < 3; ++i) make();
  UniqueFd k;
  uint32_t number;
  EXPECT_FALSE(stock.make(true, k, number));
  kept[1].reset();
  run();
  EXPECT_TRUE(stock.make(true, k, number)) << "what is gone does not count";
  Client& other = connect_client();
  EXPECT_FALSE(other.channel()->stock().make(true, k, number)) << "another process of the same user";
  client.drop("");
  EXPECT_TRUE(other.channel()->stock().make(true, k, number)) << "what a dead client had does not count";
}

TEST_F(StockTest, NeverMoreThanTheRingHolds) {
  std::vector<UniqueFd> ks_of(abi::kMaxPairs);
  uint32_t number = 0;
  for (UniqueFd& k : ks_of) ASSERT_TRUE(stock.make(true, k, number));
  UniqueFd k;
  EXPECT_FALSE(stock.make(true, k, number));
  for (int i = 0; i < 20; ++i) stock.want_spares(true);
  EXPECT_LE(ring_of().produced, ctx.limits.sockets) << "spare sockets count as sockets";
}

TEST_F(StockTest, AClientThatGivesBackTheSameSpareForEverOnlyTurnsItsOwnRing) {
  make();
  stock.want_spares(true);
  for (uint32_t i = 0; i < 3 * abi::kMaxPairs; ++i) {
    ASSERT_EQ(ring_of().produced, i + 1);
    const abi::Spare s = spare(i);
    const stack::Owner owner = socket_of(s).owner();
    close_keeping_k(s);
    end(owner);
  }
  EXPECT_EQ(counters.pairs_made, 1u);
  EXPECT_LE(client.channel()->socket_count(), 2u);
}

TEST_F(StockTest, ASocketOutlivesTheClientWhosePairItHas) {
  make();
  stock.want_spares(true);
  Socket& s = socket_of(spare(0));
  s.come_to_use();
  Client& other = connect_client();
  s.attach(*other.channel());
  client.drop("");
  EXPECT_FALSE(s.finished());
  kept.clear();
  run();
  EXPECT_EQ(protocols.count(stack::CallOp::close), 1u);
}

}  // namespace
}  // namespace ferry::server

// The table of sockets.
#include "server/sockets.h"

#include <set>

#include "fixture.h"
#include "server/host.h"

namespace ferry::server {
namespace {

using SocketsTest = ServerTest;

// Looking at one socket may end it, and its descriptor becomes a spare socket: the table grows, and moves, meanwhile.
TEST_F(SocketsTest, EveryoneIsVisitedThoughVisitsMakeMore) {
  Client& client = connect_client();
  std::multiset<const Socket*> expected, visited;
  for (int i = 0; i < 3; ++i) expected.insert(&open(client));
  sockets.for_each([&](Socket& s) {
    if (visited.empty())
      for (int i = 0; i < 100; ++i) expected.insert(&sockets.create(stack::SocketType::tcp));
    visited.insert(&s);
  });
  EXPECT_EQ(visited, expected);
}

// Connections come and are not accepted.
class PendingTest : public ServerTest {
 protected:
  static constexpr uid_t kTheirs = 1001, kOthers = 1002;
  PendingTest() : client(connect_client(1 << 20, kTheirs)), listener(open(client)), host(ctx, sockets) {
    sockets.charge(listener, kTheirs);
    listener.on_listening();
    ctx.limits.staged_per_uid = 1000;
  }
  Socket& arrive() { return *sockets.find(host.on_incoming(listener.owner(), protocols.next_id++, {}, {})); }
  uint64_t staged() const { return listener.account()->staged; }

  Client& client;
  Socket& listener;
  Host host;
  const std::string bytes = std::string(400, 'x');
};

TEST_F(PendingTest, WhatTheySendIsOnTheAccountOfTheListenersUser) {
  Socket& first = arrive();
  EXPECT_TRUE(receive(first, bytes));
  EXPECT_EQ(staged(), 400u);
  Socket& second = arrive();
  EXPECT_TRUE(receive(second, bytes));
  EXPECT_FALSE(receive(arrive(), bytes)) << "the user has enough";
  first.on_events(static_cast<uint32_t>(tcp::Event::closed));
  run();
  EXPECT_EQ(staged(), 400u);
  EXPECT_EQ(listener.account()->sockets, 1u) << "it is not one of theirs before it is accepted";
}

TEST_F(PendingTest, WhoAcceptsTakesThemOver) {
  Socket& child = arrive();
  ASSERT_TRUE(receive(child, bytes));
  sockets.take_child(child.id());
  ASSERT_TRUE(sockets.charge(child, kOthers));
  EXPECT_EQ(staged(), 0u);
  EXPECT_EQ(child.account()->staged, 400u);
  EXPECT_EQ(child.uid(), kOthers);
  Socket& mine = arrive();
  ASSERT_TRUE(receive(mine, bytes));
  sockets.take_child(mine.id());
  ASSERT_TRUE(sockets.charge(mine, kTheirs));
  EXPECT_EQ(staged(), 400u);
  EXPECT_EQ(listener.account()->sockets, 2u);
}

TEST_F(PendingTest, TheAccountLastsAsLongAsTheyDo) {
  Socket& child = arrive();
  ASSERT_TRUE(receive(child, bytes));
  sockets.discharge(listener);
  child.on_events(static_cast<uint32_t>(tcp::Event::closed));
  run();
  EXPECT_EQ(memory.staged_bytes(), 0u);
}

}  // namespace
}  // namespace ferry::server

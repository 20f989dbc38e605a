// The table of sockets.
#include "server/sockets.h"

#include <set>

#include "fixture.h"

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

}  // namespace
}  // namespace ferry::server

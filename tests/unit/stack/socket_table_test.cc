// Numbers of sockets that are gone are recognised; restored sockets get their old numbers.
#include "stack/socket_table.h"

#include <gtest/gtest.h>

#include "stack/tcp_server.h"

namespace ferry::stack {
namespace {

TEST(SocketTable, ANumberDiesWithItsSocket) {
  SocketTable table(10);
  TcpSocket a, b;
  auto first = table.add(a);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(table.find(*first), &a);
  table.remove(*first);
  EXPECT_EQ(table.find(*first), nullptr);
  auto second = table.add(b);  // the same slot
  ASSERT_TRUE(second.ok());
  EXPECT_NE(*first, *second);
  EXPECT_EQ(table.find(*first), nullptr);
  EXPECT_EQ(table.find(0), nullptr);
  EXPECT_EQ(table.find(UINT64_MAX), nullptr);
}

TEST(SocketTable, IsBounded) {
  SocketTable table(3);
  TcpSocket s[4];
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(table.add(s[i]).ok());
  EXPECT_EQ(table.add(s[3]).error(), Errc::too_many);
}

TEST(SocketTable, RestoresUnderTheOldNumberOnce) {
  SocketTable table(10);
  TcpSocket a, b, c;
  const uint64_t id = uint64_t{5} << 32 | 7;
  ASSERT_TRUE(table.restore(a, id).ok());
  EXPECT_EQ(table.find(id), &a);
  EXPECT_EQ(table.restore(b, id).error(), Errc::address_in_use);
  EXPECT_EQ(table.restore(b, 0).error(), Errc::malformed);
  EXPECT_EQ(table.restore(b, uint64_t{1} << 32 | 11).error(), Errc::malformed);
  auto other = table.add(c);  // the slots below are free
  ASSERT_TRUE(other.ok());
  EXPECT_NE(static_cast<uint32_t>(*other), 7u);
  EXPECT_EQ(table.count(), 2u);
}

}  // namespace
}  // namespace ferry::stack

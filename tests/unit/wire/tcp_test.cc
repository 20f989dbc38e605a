#include "wire/tcp.h"

#include <gtest/gtest.h>

#include "support/bytes.h"

namespace ferry::wire {
namespace {

using test::Bytes;
using test::emit;
using test::hex;

TEST(Tcp, ReadsASegment) {
  const Bytes bytes = hex("0050 c350 00000001 fffffffe 80 19 0100 1234 0005 0101080a 00000001 00000002 aabbcc");
  auto view = TcpView::parse(bytes);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->source_port(), 80);
  EXPECT_EQ(view->destination_port(), 50000);
  EXPECT_EQ(view->sequence(), SeqNum(1));
  EXPECT_EQ(view->acknowledgment(), SeqNum(0xfffffffe));
  EXPECT_EQ(view->header_length(), 32u);
  EXPECT_EQ(view->flags(), 0x19);
  EXPECT_EQ(view->window(), 256);
  EXPECT_EQ(view->checksum(), 0x1234);
  EXPECT_EQ(view->urgent_pointer(), 5);
  EXPECT_EQ(view->option_bytes().size(), 12u);
  EXPECT_EQ(test::copy(view->payload()), hex("aabbcc"));
}

TEST(Tcp, TruncatedHeadersAreMalformed) {
  const Bytes bytes = hex("0050 c350 00000001 fffffffe 80 19 0100 1234 0005 0101080a 00000001 00000002");
  for (size_t n = 0; n < bytes.size(); ++n)
    EXPECT_EQ(TcpView::parse(ByteSpan(bytes).first(n)).error(), Errc::malformed) << n;
  EXPECT_TRUE(TcpView::parse(bytes));
}

TEST(Tcp, DataOffsetBelowFiveIsMalformed) {
  Bytes bytes(60);
  for (int offset = 0; offset < 16; ++offset) {
    bytes[12] = static_cast<std::byte>(offset << 4);
    EXPECT_EQ(TcpView::parse(bytes).ok(), offset >= 5) << offset;
  }
}

TEST(Tcp, BadOptionsMakeTheFieldsMalformed) {
  const Bytes bytes = hex("0050 c350 00000001 00000000 60 02 0100 0000 0000 0201 0000");
  auto view = TcpView::parse(bytes);
  ASSERT_TRUE(view);
  EXPECT_EQ(TcpFields::parse(*view).error(), Errc::malformed);
}

TEST(Tcp, LongestHeaderIsSixtyBytes) {
  TcpFields f;
  f.options.has_timestamps = true;
  f.options.sack_count = 3;
  EXPECT_EQ(f.size(), 20u + 12 + 28);
  EXPECT_EQ(emit(f).size(), 60u);
}

}  // namespace
}  // namespace ferry::wire

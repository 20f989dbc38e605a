#include "wire/udp.h"

#include <gtest/gtest.h>

#include "support/bytes.h"

namespace ferry::wire {
namespace {

using test::Bytes;
using test::hex;

TEST(Udp, IsCutToItsOwnLength) {
  const Bytes bytes = hex("0035 1000 000a abcd 6869 0000");
  auto view = UdpView::parse(bytes);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->source_port(), 53);
  EXPECT_EQ(view->destination_port(), 4096);
  EXPECT_EQ(view->length(), 10);
  EXPECT_EQ(view->checksum(), 0xabcd);
  EXPECT_EQ(test::copy(view->payload()), hex("6869"));
}

TEST(Udp, EmptyPayloadIsADatagram) {
  auto view = UdpView::parse(hex("0035 1000 0008 0000"));
  ASSERT_TRUE(view);
  EXPECT_TRUE(view->payload().empty());
}

TEST(Udp, ImpossibleLengthsAreMalformed) {
  EXPECT_FALSE(UdpView::parse(hex("0035 1000 0007 0000")));  // below the header
  EXPECT_FALSE(UdpView::parse(hex("0035 1000 0000 0000")));  // a jumbogram's 0 is IPv6's
  EXPECT_FALSE(UdpView::parse(hex("0035 1000 000b 0000 6869")));
  EXPECT_FALSE(UdpView::parse(hex("0035 1000 0008 00")));
}

}  // namespace
}  // namespace ferry::wire

#include "wire/arp.h"

#include <gtest/gtest.h>

#include "support/bytes.h"

namespace ferry::wire {
namespace {

using test::Bytes;
using test::hex;

const Bytes kRequestBytes = hex("0001 0800 06 04 0001 020000000001 0a090001 000000000000 0a090002");

TEST(Arp, ReadsARequestWithPadding) {
  const Bytes padded = test::join(kRequestBytes, Bytes(18));
  auto view = ArpView::parse(padded);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->operation(), kArpRequest);
  EXPECT_EQ(view->sender_mac(), (MacAddress{{2, 0, 0, 0, 0, 1}}));
  EXPECT_EQ(view->sender_ip(), Ipv4Address::of(10, 9, 0, 1));
  EXPECT_TRUE(view->target_mac().is_zero());
  EXPECT_EQ(view->target_ip(), Ipv4Address::of(10, 9, 0, 2));
}

TEST(Arp, EveryTruncationIsMalformed) {
  for (size_t n = 0; n < kRequestBytes.size(); ++n)
    EXPECT_EQ(ArpView::parse(ByteSpan(kRequestBytes).first(n)).error(), Errc::malformed) << n;
}

TEST(Arp, OtherHardwareProtocolOrLengthsAreMalformed) {
  for (size_t at = 0; at < 6; ++at) {
    Bytes other = kRequestBytes;
    other[at] ^= std::byte{0x40};
    EXPECT_EQ(ArpView::parse(other).error(), Errc::malformed) << at;
  }
}

}  // namespace
}  // namespace ferry::wire

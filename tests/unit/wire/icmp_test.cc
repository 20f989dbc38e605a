#include "wire/icmp.h"

#include <gtest/gtest.h>

#include "support/bytes.h"

namespace ferry::wire {
namespace {

using test::Bytes;
using test::emit;
using test::pattern;

TEST(Icmp, SealedMessagesVerify) {
  const Bytes data = pattern(33);
  IcmpFields f{kIcmpEcho, 0, 0, 0x1234'0007};
  f.seal(data);
  const Bytes bytes = test::join(emit(f), data);
  auto view = IcmpView::parse(bytes);
  ASSERT_TRUE(view);
  EXPECT_TRUE(view->checksum_ok());
  EXPECT_EQ(view->echo_identifier(), 0x1234);
  EXPECT_EQ(view->echo_sequence(), 7);
  EXPECT_EQ(test::copy(view->data()), data);
  Bytes broken = bytes;
  broken[20] ^= std::byte{1};
  EXPECT_FALSE(IcmpView::parse(broken)->checksum_ok());
}

TEST(Icmp, ShorterThanAHeaderIsMalformed) {
  EXPECT_EQ(IcmpView::parse(Bytes(7)).error(), Errc::malformed);
  EXPECT_TRUE(IcmpView::parse(Bytes(8)));
}

TEST(Icmp, WhichMessagesAreErrors) {
  for (int type = 0; type < 256; ++type) {
    Bytes bytes(8);
    bytes[0] = static_cast<std::byte>(type);
    const bool error = type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
    EXPECT_EQ(IcmpView::parse(bytes)->is_error(), error) << type;
  }
}

TEST(Icmp, NextHopMtu) {
  const Bytes bytes = test::hex("03 04 0000 0000 0578");
  EXPECT_EQ(IcmpView::parse(bytes)->next_hop_mtu(), 1400);
}

}  // namespace
}  // namespace ferry::wire

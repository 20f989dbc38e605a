#include "wire/ethernet.h"

#include <gtest/gtest.h>

#include "support/bytes.h"

namespace ferry::wire {
namespace {

using test::hex;

TEST(Ethernet, ReadsAHeader) {
  const auto frame = hex("ffffffffffff 020000000001 0806 aabb");
  auto view = EthernetView::parse(frame);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->destination(), MacAddress::broadcast());
  EXPECT_EQ(view->source(), (MacAddress{{2, 0, 0, 0, 0, 1}}));
  EXPECT_EQ(view->type(), kEtherArp);
  EXPECT_EQ(view->payload().size(), 2u);
  EXPECT_FALSE(view->is_vlan());
}

TEST(Ethernet, ShorterThanAHeaderIsMalformed) {
  const auto frame = hex("ffffffffffff 020000000001 08");
  EXPECT_EQ(EthernetView::parse(frame).error(), Errc::malformed);
  EXPECT_EQ(EthernetView::parse({}).error(), Errc::malformed);
}

TEST(Ethernet, TagsAreRecognised) {
  EXPECT_TRUE(EthernetView::parse(hex("ffffffffffff 020000000001 8100 0001 0800"))->is_vlan());
  EXPECT_TRUE(EthernetView::parse(hex("ffffffffffff 020000000001 88a8 0001 8100"))->is_vlan());
}

TEST(Ethernet, PaddingUpToTheMinimum) {
  EXPECT_EQ(ethernet_padding(42), 18u);  // an ARP packet
  EXPECT_EQ(ethernet_padding(60), 0u);
  EXPECT_EQ(ethernet_padding(1514), 0u);
}

}  // namespace
}  // namespace ferry::wire

#include "wire/ipv4.h"

#include <gtest/gtest.h>

#include "support/bytes.h"

namespace ferry::wire {
namespace {

using test::Bytes;
using test::emit;
using test::hex;

// The header that is worked through in many textbooks; its checksum is b861.
const Bytes kHeader = hex("4500 0073 0000 4000 40 11 b861 c0a80001 c0a800c7");

Bytes datagram(size_t payload) { return test::join(kHeader, Bytes(payload)); }

// A header with these options and 8 bytes of payload.
Bytes with_options(const char* options) {
  Bytes o = hex(options);
  o.resize((o.size() + 3) / 4 * 4);
  Bytes h = test::join(kHeader, o, Bytes(8));
  h[0] = static_cast<std::byte>(0x40 | (20 + o.size()) / 4);
  store_be16(h, 2, static_cast<uint16_t>(h.size()));
  return h;
}

TEST(Ipv4, ReadsAHeader) {
  const Bytes bytes = datagram(0x73 - 20);
  auto view = Ipv4View::parse(bytes);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->header_length(), 20u);
  EXPECT_EQ(view->total_length(), 0x73);
  EXPECT_TRUE(view->dont_fragment());
  EXPECT_FALSE(view->is_fragment());
  EXPECT_EQ(view->ttl(), 64);
  EXPECT_EQ(view->protocol(), kProtocolUdp);
  EXPECT_EQ(view->source(), Ipv4Address::of(192, 168, 0, 1));
  EXPECT_EQ(view->destination(), Ipv4Address::of(192, 168, 0, 199));
  EXPECT_EQ(view->payload().size(), 0x73u - 20);
  EXPECT_TRUE(view->checksum_ok());
}

TEST(Ipv4, PaddingBehindTheTotalLengthIsCutOff) {
  const Bytes bytes = datagram(0x73 - 20 + 13);
  EXPECT_EQ(Ipv4View::parse(bytes)->payload().size(), 0x73u - 20);
}

TEST(Ipv4, EveryTruncationIsMalformed) {
  const Bytes bytes = datagram(0x73 - 20);
  for (size_t n = 0; n < bytes.size(); ++n)
    EXPECT_EQ(Ipv4View::parse(ByteSpan(bytes).first(n)).error(), Errc::malformed) << n;
}

TEST(Ipv4, WrongVersionOrLengthsAreMalformed) {
  Bytes bytes = datagram(0x73 - 20);
  bytes[0] = std::byte{0x65};
  EXPECT_FALSE(Ipv4View::parse(bytes));
  bytes[0] = std::byte{0x44};  // header of 16 bytes
  EXPECT_FALSE(Ipv4View::parse(bytes));
  bytes[0] = std::byte{0x45};
  store_be16(bytes, 2, 19);  // total length below the header's
  EXPECT_FALSE(Ipv4View::parse(bytes));
}

// Linux's BIG TCP: a total length of 0 says "up to the end", of packets only that are longer than it can say and still to be cut.
TEST(Ipv4, WithoutATotalLengthOnlyWhatIsUncutAndTooLongForOne) {
  const size_t header = kHeader.size();
  for (const size_t size : {65535u, 65536u, 200'000u}) {
    Bytes bytes = datagram(size - header);
    store_be16(bytes, 2, 0);
    EXPECT_FALSE(Ipv4View::parse(bytes)) << size;
    EXPECT_FALSE(Ipv4View::parse_quoted(bytes)) << size;
    EXPECT_FALSE(Ipv4View::parse_detached(ByteSpan(bytes).first(header), size - header)) << size;
    auto whole = Ipv4View::parse(bytes, true);
    auto split = Ipv4View::parse_detached(ByteSpan(bytes).first(header + 20), size - header - 20, true);
    ASSERT_EQ(whole.ok(), size > 65535) << size;
    ASSERT_EQ(split.ok(), size > 65535) << size;
    if (!whole) continue;
    EXPECT_EQ(whole->payload().size(), size - header);
    EXPECT_EQ(split->payload().size(), 20u);
  }
  Bytes bytes = datagram(200'000);
  EXPECT_EQ(Ipv4View::parse(bytes, true)->payload().size(), 0x73u - header);  // what it says counts
  store_be16(bytes, 2, 0);
  bytes[0] = std::byte{0x44};
  EXPECT_FALSE(Ipv4View::parse(bytes, true));
}

TEST(Ipv4, AnyFlippedBitBreaksTheChecksum) {
  Bytes bytes = datagram(0x73 - 20);
  for (size_t bit = 16 * 8; bit < 20 * 8; ++bit) {
    Bytes flipped = bytes;
    flipped[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    EXPECT_FALSE(Ipv4View::parse(flipped)->checksum_ok()) << bit;
  }
}

TEST(Ipv4, AQuotedDatagramMayBeCutShort) {
  const Bytes bytes = datagram(8);
  EXPECT_FALSE(Ipv4View::parse(bytes));
  auto view = Ipv4View::parse_quoted(bytes);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->payload().size(), 8u);
  EXPECT_FALSE(Ipv4View::parse_quoted(ByteSpan(bytes).first(19)));
}

TEST(Ipv4, FragmentFields) {
  Ipv4Fields f;
  f.more_fragments = true;
  f.fragment_offset = 65528;
  f.total_length = 20;
  const Bytes bytes = emit(f);
  auto view = Ipv4View::parse(bytes);
  ASSERT_TRUE(view);
  EXPECT_TRUE(view->is_fragment());
  EXPECT_TRUE(view->more_fragments());
  EXPECT_FALSE(view->dont_fragment());
  EXPECT_EQ(view->fragment_offset(), 65528u);
  EXPECT_TRUE(view->checksum_ok());
}

TEST(Ipv4, SourceRoutesAreFoundAmongOptions) {
  const auto routed = [](const char* options) {
    const Bytes bytes = with_options(options);
    auto view = Ipv4View::parse(bytes);
    EXPECT_TRUE(view) << options;
    return view->has_source_route();
  };
  EXPECT_FALSE(routed(""));
  EXPECT_FALSE(routed("01 01 01 00"));               // no-operation, end
  EXPECT_FALSE(routed("94 04 00 00"));               // router alert
  EXPECT_FALSE(routed("07 07 04 00000000"));         // record route
  EXPECT_FALSE(routed("00 83 07 04"));               // behind the end of the list
  EXPECT_TRUE(routed("83 07 04 0a090001"));          // loose
  EXPECT_TRUE(routed("89 07 04 0a090001"));          // strict
  EXPECT_TRUE(routed("01 01 94 04 00 00 83 07 04 0a090001"));
  EXPECT_TRUE(routed("94 09 00 00"));                // length beyond the header: cannot be judged
  EXPECT_TRUE(routed("94 01 00 00"));                // length below 2
  EXPECT_TRUE(routed("01 01 01 94"));                // no length at all
}

}  // namespace
}  // namespace ferry::wire

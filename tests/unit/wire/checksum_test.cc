#include "wire/checksum.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "support/bytes.h"

namespace ferry::wire {
namespace {

using test::Bytes;
using test::hex;
using test::pattern;

// Word by word, as RFC 1071 section 4.1 puts it.
uint16_t reference(ByteSpan bytes) {
  uint64_t sum = 0;
  for (size_t i = 0; i < bytes.size(); ++i) sum += uint64_t{load_u8(bytes, i)} << (i % 2 == 0 ? 8 : 0);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

uint16_t sum_of(ByteSpan bytes) {
  Checksum c;
  c.add(bytes);
  return c.partial();
}

TEST(Checksum, ExampleOfRfc1071) {
  EXPECT_EQ(sum_of(hex("00 01 f2 03 f4 f5 f6 f7")), 0xddf2);
}

TEST(Checksum, NothingSumsToNothing) {
  Checksum c;
  c.add({});
  EXPECT_EQ(c.partial(), 0);
  EXPECT_EQ(c.finish(), 0xffff);
}

TEST(Checksum, AllOnesDoesNotLoseCarries) {
  for (size_t n : {1u, 2u, 7u, 31u, 32u, 33u, 65535u}) {
    const Bytes ones(n, std::byte{0xff});
    EXPECT_EQ(sum_of(ones), reference(ones)) << n;
  }
}

TEST(Checksum, EveryShortLengthAndAlignment) {
  const Bytes all = pattern(200);
  for (size_t from = 0; from < 9; ++from)
    for (size_t n = 0; n + from < all.size(); ++n) {
      const ByteSpan s = ByteSpan(all).subspan(from, n);
      ASSERT_EQ(sum_of(s), reference(s)) << from << " " << n;
    }
}

TEST(Checksum, PiecesOfOddLengthsAreOneWhole) {
  const Bytes all = pattern(301);
  for (size_t cut = 0; cut <= 40; ++cut)
    for (size_t second = cut; second <= 80; ++second) {
      Checksum c;
      c.add(ByteSpan(all).first(cut));
      c.add(ByteSpan(all).subspan(cut, second - cut));
      c.add(ByteSpan(all).subspan(second));
      ASSERT_EQ(c.partial(), reference(all)) << cut << " " << second;
    }
}

TEST(Checksum, PseudoHeaderOfARealSegment) {
  // A UDP datagram 10.9.0.2:53 -> 10.9.0.1:4096 "hi"; sum worked out by hand from the 16-bit words.
  const Bytes udp = hex("0035 1000 000a 0000 6869");
  Checksum c = pseudo_header(Ipv4Address::of(10, 9, 0, 2), Ipv4Address::of(10, 9, 0, 1), 17, 10);
  EXPECT_EQ(c.partial(), (0x0a09 + 0x0002 + 0x0a09 + 0x0001 + 17 + 10));
  c.add(udp);
  EXPECT_EQ(c.partial(), 0x1430 + 0x0035 + 0x1000 + 0x000a + 0x6869);
}

RC_GTEST_PROP(ChecksumProperty, WhatIsSealedVerifies, (std::vector<uint8_t> data, uint16_t source, uint16_t length)) {
  Bytes bytes(data.size() + 2);
  for (size_t i = 0; i < data.size(); ++i) bytes[i + 2] = std::byte{data[i]};
  const Checksum pseudo = pseudo_header({source}, {~uint32_t{source}}, 6, length);
  Checksum c = pseudo;
  c.add(bytes);
  store_be16(bytes, 0, c.finish());
  RC_ASSERT(checksum_ok(pseudo, bytes));
  if (!data.empty()) {
    bytes.back() ^= std::byte{0x10};
    RC_ASSERT(!checksum_ok(pseudo, bytes));
  }
}

}  // namespace
}  // namespace ferry::wire

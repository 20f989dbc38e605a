// src/link/pcapng_decoder.cc: blocks come whole, however the pipe cuts them; what is no pcapng is noticed.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "link/pcapng_blocks.h"
#include "link/pcapng_format.h"

namespace ferry::link {
namespace {

using Bytes = std::vector<std::byte>;

Bytes bytes(std::initializer_list<int> values) {
  Bytes out;
  for (int v : values) out.push_back(static_cast<std::byte>(v));
  return out;
}

void put(Bytes& out, uint32_t value) {
  const auto* raw = reinterpret_cast<const std::byte*>(&value);
  out.insert(out.end(), raw, raw + sizeof(value));
}

Bytes words(std::initializer_list<uint32_t> values) {
  Bytes out;
  for (uint32_t v : values) put(out, v);
  return out;
}

// A block of `type` around `body`, whose length is a multiple of four.
Bytes block(uint32_t type, const Bytes& body) {
  Bytes out;
  put(out, type);
  put(out, static_cast<uint32_t>(body.size() + 12));
  out.insert(out.end(), body.begin(), body.end());
  put(out, static_cast<uint32_t>(body.size() + 12));
  return out;
}

Bytes packet_block(const Bytes& frame, uint32_t captured, uint32_t original) {
  Bytes body = words({0, 1, 2, captured, original});
  body.insert(body.end(), frame.begin(), frame.end());
  body.resize((body.size() + 3) / 4 * 4);
  return block(6, body);
}

const Bytes kSection = block(0x0a0d0d0a, words({0x1a2b3c4d, 1, ~0u, ~0u}));
const Bytes kInterface = block(1, words({1, 0}));

// A decoder that has seen the beginning of a stream.
struct Begun : PcapngDecoder {
  Begun() {
    for (const Bytes& b : {kSection, kInterface}) {
      feed(b);
      EXPECT_EQ(next_block().size(), b.size());
      EXPECT_EQ(frame(), nullptr);
    }
  }
};

TEST(PcapngDecoder, BlocksComeWholeHoweverTheyAreCut) {
  Bytes all;
  const std::vector<Bytes> blocks = {kSection, kInterface, packet_block(bytes({1, 2, 3, 4, 5}), 5, 60), block(5, {})};
  for (const Bytes& b : blocks) all.insert(all.end(), b.begin(), b.end());
  for (size_t step = 1; step <= all.size(); ++step) {
    PcapngDecoder decoder;
    std::vector<Bytes> got;
    for (size_t at = 0; at < all.size(); at += step) {
      decoder.feed(ByteSpan(all).subspan(at, std::min(step, all.size() - at)));
      for (ByteSpan b; !(b = decoder.next_block()).empty();) got.emplace_back(b.begin(), b.end());
      ASSERT_EQ(decoder.error(), "");
    }
    EXPECT_EQ(got, blocks) << "in steps of " << step;
    EXPECT_FALSE(decoder.within_block());
  }
}

TEST(PcapngDecoder, WrongLengthsAreRefused) {
  for (const uint32_t length : {0u, 8u, 11u, 13u, pcapng::kMaxBlockBytes + 4, 0xffffffffu}) {
    Begun decoder;
    decoder.feed(words({6, length, 0}));
    EXPECT_TRUE(decoder.next_block().empty()) << length;
    EXPECT_EQ(decoder.error(), "a block has an impossible length") << length;
  }
  Bytes unequal = block(6, Bytes(8));
  unequal[unequal.size() - 4] ^= std::byte{4};
  Begun decoder;
  decoder.feed(unequal);
  EXPECT_TRUE(decoder.next_block().empty());
  EXPECT_EQ(decoder.error(), "a block's two lengths differ");
}

TEST(PcapngDecoder, AStreamBeginsWithASection) {
  PcapngDecoder decoder;
  decoder.feed(kInterface);
  EXPECT_TRUE(decoder.next_block().empty());
  EXPECT_EQ(decoder.error(), "not a pcapng file");
}

TEST(PcapngDecoder, GivesTheCapturedBytesAndTheLengthOnTheWire) {
  Begun decoder;
  const Bytes b = packet_block(bytes({9, 8, 7}), 3, 1500);
  decoder.feed(b);
  const ByteSpan given = decoder.next_block();
  EXPECT_EQ(Bytes(given.begin(), given.end()), b);
  ASSERT_NE(decoder.frame(), nullptr);
  const ByteSpan frame = decoder.frame()->bytes;
  EXPECT_EQ(Bytes(frame.begin(), frame.end()), bytes({9, 8, 7}));
  EXPECT_EQ(decoder.frame()->original_length, 1500u);
}

TEST(PcapngDecoder, NeverReadsBeyondTheBlock) {
  for (const Bytes& b : {packet_block(bytes({1, 2, 3, 4}), 5, 5), packet_block({}, 0xffffffff, 1), block(6, Bytes(4))}) {
    Begun decoder;
    decoder.feed(b);
    EXPECT_TRUE(decoder.next_block().empty());
    EXPECT_EQ(decoder.frame(), nullptr);
    EXPECT_NE(decoder.error(), "");
  }
  Begun decoder;  // any other block has no frame
  decoder.feed(block(5, Bytes(40)));
  EXPECT_EQ(decoder.next_block().size(), 52u);
  EXPECT_EQ(decoder.frame(), nullptr);
}

}  // namespace
}  // namespace ferry::link

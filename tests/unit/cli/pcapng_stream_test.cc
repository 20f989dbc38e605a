// src/cli/pcapng_stream.cc: blocks come whole, however the pipe cuts them; what is no pcapng is noticed.
#include "cli/pcapng_stream.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace ferry::cli {
namespace {

using Bytes = std::vector<uint8_t>;

void put(Bytes& out, uint32_t value) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
  out.insert(out.end(), bytes, bytes + sizeof(value));
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
  Bytes body;
  for (uint32_t field : {0u, 1u, 2u, captured, original}) put(body, field);
  body.insert(body.end(), frame.begin(), frame.end());
  body.resize((body.size() + 3) / 4 * 4);
  return block(6, body);
}

TEST(PcapngStream, BlocksComeWholeHoweverTheyAreCut) {
  Bytes all;
  const std::vector<Bytes> blocks = {block(0x0a0d0d0a, Bytes(16, 1)), packet_block({1, 2, 3, 4, 5}, 5, 60), block(5, {})};
  for (const Bytes& b : blocks) all.insert(all.end(), b.begin(), b.end());
  for (size_t step = 1; step <= all.size(); ++step) {
    PcapngStream stream;
    std::vector<Bytes> got;
    for (size_t at = 0; at < all.size(); at += step) {
      const size_t n = std::min(step, all.size() - at);
      ASSERT_TRUE(stream.feed(std::span(all).subspan(at, n), [&](auto b) { got.emplace_back(b.begin(), b.end()); }));
    }
    EXPECT_EQ(got, blocks) << "in steps of " << step;
  }
}

TEST(PcapngStream, WrongLengthsAreRefused) {
  for (const uint32_t length : {0u, 8u, 11u, 13u, PcapngStream::kMaxBlock + 4, 0xffffffffu}) {
    Bytes bytes;
    put(bytes, 6);
    put(bytes, length);
    put(bytes, 0);
    PcapngStream stream;
    EXPECT_FALSE(stream.feed(bytes, [](auto) { FAIL(); })) << length;
  }
  Bytes unequal = block(6, Bytes(8, 0));
  unequal[unequal.size() - 4] ^= 4;
  PcapngStream stream;
  EXPECT_FALSE(stream.feed(unequal, [](auto) { FAIL(); }));
}

TEST(PacketOf, GivesTheCapturedBytesAndTheLengthOnTheWire) {
  const Bytes b = packet_block({9, 8, 7}, 3, 1500);
  const CapturedPacket packet = packet_of(b);
  EXPECT_TRUE(is_packet_block(b));
  EXPECT_EQ(Bytes(packet.bytes.begin(), packet.bytes.end()), (Bytes{9, 8, 7}));
  EXPECT_EQ(packet.length, 1500u);
}

TEST(PacketOf, NeverReadsBeyondTheBlock) {
  EXPECT_TRUE(packet_of(packet_block({1, 2, 3, 4}, 5, 5)).bytes.empty());
  EXPECT_TRUE(packet_of(packet_block({}, 0xffffffff, 1)).bytes.empty());
  EXPECT_TRUE(packet_of(block(6, Bytes(4, 0))).bytes.empty());
  EXPECT_TRUE(packet_of(block(5, Bytes(40, 0))).bytes.empty());
}

}  // namespace
}  // namespace ferry::cli

#include "net/output_checksum.h"

#include <gtest/gtest.h>

#include "net_fixture.h"
#include "wire/checksum.h"

namespace ferry::net {
namespace {

struct OutputChecksumTest : ::testing::Test {
  test::OneRegion memory;
  Counters counters;
  buf::Packet packet;
  wire::Checksum pseudo = wire::pseudo_header(test::kOurs, test::kPeer, 17, 8 + 301);

  OutputChecksumTest() {
    memory.bytes = test::pattern(300);
    packet.append_header(34);
    copy_bytes(packet.append_header(8), test::pattern(8, 2));
    store_be16(MutableByteSpan(packet.headers), 40, pseudo.partial());
    packet.append_part({1, 101, 1});
    packet.append_part({150, 100, 1});
    packet.append_part({2, 100, 1});
    packet.offload = {.needs_checksum = true, .checksum_start = 34, .checksum_offset = 6};
  }
};

TEST_F(OutputChecksumTest, CompletesOverHeaderPartsOfOddLengths) {
  ASSERT_TRUE(complete_checksum(packet, memory, counters));
  EXPECT_FALSE(packet.offload.needs_checksum);
  const test::Bytes all = test::flatten(packet, memory);
  EXPECT_TRUE(wire::checksum_ok(pseudo, ByteSpan(all).subspan(34)));
  EXPECT_EQ(counters.checksums_in_software, 1u);
  EXPECT_EQ(counters.payload_bytes_summed, 301u);
}

TEST_F(OutputChecksumTest, NotAskedForNotTouched) {
  packet.offload.needs_checksum = false;
  const test::Bytes before = test::flatten(packet, memory);
  ASSERT_TRUE(complete_checksum(packet, memory, counters));
  EXPECT_EQ(test::flatten(packet, memory), before);
  EXPECT_EQ(counters.payload_bytes_summed, 0u);
}

TEST_F(OutputChecksumTest, AResultOfZeroIsWrittenAsAllOnes) {
  ASSERT_TRUE(complete_checksum(packet, memory, counters));
  // Put what is missing to a sum of all ones into the first two bytes of the transport header.
  const uint16_t result = load_be16(packet.header_bytes(), 40);
  const MutableByteSpan headers(packet.headers);
  const uint32_t word = load_be16(headers, 34) + uint32_t{result};
  store_be16(headers, 34, static_cast<uint16_t>(word + (word >> 16)));
  store_be16(headers, 40, pseudo.partial());
  packet.offload.needs_checksum = true;
  ASSERT_TRUE(complete_checksum(packet, memory, counters));
  EXPECT_EQ(load_be16(packet.header_bytes(), 40), 0xffff);
}

TEST_F(OutputChecksumTest, UnreadablePayloadOrOffsetsOutsideAreInvalid) {
  packet.offload.checksum_start = 41;
  EXPECT_EQ(complete_checksum(packet, memory, counters).error(), Errc::invalid);
  packet.offload.checksum_start = 34;
  memory.bytes.resize(200);
  EXPECT_EQ(complete_checksum(packet, memory, counters).error(), Errc::invalid);
}

}  // namespace
}  // namespace ferry::net

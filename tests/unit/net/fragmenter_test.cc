#include "net/fragmenter.h"

#include <gtest/gtest.h>

#include "net_fixture.h"

namespace ferry::net {
namespace {

using test::Bytes;

TEST(AppendSlice, EverySliceOfHeaderPartsAndTail) {
  test::OneRegion memory;
  memory.bytes = test::pattern(100);
  const Bytes tail = test::pattern(9, 4);
  buf::Packet from;
  copy_bytes(from.append_header(14), test::pattern(14, 2));  // 6 to be skipped, 8 of transport header
  for (buf::IoDesc d : {buf::IoDesc{0, 10, 1}, buf::IoDesc{50, 1, 1}, buf::IoDesc{20, 7, 1}}) from.append_part(d);
  from.tail = tail;
  from.payload_length += 9;
  const Bytes whole = test::copy(ByteSpan(test::flatten(from, memory)).subspan(6));
  for (uint32_t offset = 0; offset <= whole.size(); ++offset)
    for (uint32_t length = 0; offset + length <= whole.size(); ++length) {
      buf::Packet to;
      ASSERT_TRUE(append_slice(to, from, 6, offset, length));
      ASSERT_EQ(test::flatten(to, memory), test::copy(ByteSpan(whole).subspan(offset, length))) << offset << " " << length;
    }
  buf::Packet to;
  EXPECT_FALSE(append_slice(to, from, 6, 1, static_cast<uint32_t>(whole.size())));
}

}  // namespace
}  // namespace ferry::net

// What is written is read again; short input and output are noticed.
#include "stack/record.h"

#include <gtest/gtest.h>

#include <array>

namespace ferry::stack {
namespace {

TEST(Record, RoundTrip) {
  std::array<std::byte, 200> room;
  RecordWriter out(room);
  const wire::Endpoint e{wire::IpAddress::from(wire::Ipv4Address::of(10, 9, 8, 7)), 4711};
  tcp::UserOptions o;
  o.no_delay = o.keep_alive = true;
  o.keep_idle_s = 33;
  o.linger2_s = -1;
  o.user_timeout_ms = 5000;
  o.receive_buffer = 65536;
  o.congestion = tcp::cc::Algorithm::newreno;
  out.u8(1), out.u16(2), out.u32(3), out.u64(4), out.instant(Instant::from_ns(-5)), out.endpoint(e), out.options(o);
  ASSERT_TRUE(out.ok());
  RecordReader in(ByteSpan(room).first(out.used()));
  EXPECT_EQ(in.u8(), 1);
  EXPECT_EQ(in.u16(), 2);
  EXPECT_EQ(in.u32(), 3u);
  EXPECT_EQ(in.u64(), 4u);
  EXPECT_EQ(in.instant(), Instant::from_ns(-5));
  EXPECT_EQ(in.endpoint(), e);
  const tcp::UserOptions r = in.options();
  EXPECT_TRUE(in.complete());
  EXPECT_TRUE(r.no_delay && r.keep_alive && !r.cork);
  EXPECT_EQ(r.keep_idle_s, 33);
  EXPECT_EQ(r.linger2_s, -1);
  EXPECT_EQ(r.user_timeout_ms, 5000u);
  EXPECT_EQ(r.receive_buffer, 65536u);
  EXPECT_EQ(r.congestion, tcp::cc::Algorithm::newreno);
}

TEST(Record, IntegersAreLittleEndian) {
  std::array<std::byte, 4> room;
  RecordWriter out(room);
  out.u32(0x01020304);
  EXPECT_EQ(room[0], std::byte{4});
  EXPECT_EQ(room[3], std::byte{1});
}

TEST(Record, OverflowIsNoticed) {
  std::array<std::byte, 3> room;
  RecordWriter out(room);
  out.u32(1);
  EXPECT_FALSE(out.ok());
  EXPECT_EQ(out.used(), 0u);
  RecordReader in(room);
  EXPECT_EQ(in.u32(), 0u);
  EXPECT_FALSE(in.ok());
  EXPECT_FALSE(in.complete());
}

TEST(Record, ValuesOutOfRangeAreRefused) {
  std::array<std::byte, 100> room{};  // keep_count 0, congestion 0, …
  RecordReader in(room);
  in.options();
  EXPECT_FALSE(in.ok());
  std::array<std::byte, 16> v6{};
  v6[0] = std::byte{0x20};
  RecordReader address(v6);
  address.address();
  EXPECT_FALSE(address.ok());
}

}  // namespace
}  // namespace ferry::stack

#include "wire/tcp_options.h"

#include <gtest/gtest.h>

#include "support/bytes.h"

namespace ferry::wire {
namespace {

using test::Bytes;
using test::emit;
using test::hex;

TEST(TcpOptions, TheUsualSyn) {
  auto o = TcpOptions::parse(hex("020405b4 0402 080a 00000011 00000022 01 030307"));
  ASSERT_TRUE(o);
  EXPECT_EQ(o->mss, 1460);
  EXPECT_TRUE(o->sack_permitted);
  EXPECT_TRUE(o->has_timestamps);
  EXPECT_EQ(o->ts_value, 0x11u);
  EXPECT_EQ(o->ts_echo, 0x22u);
  EXPECT_EQ(o->window_scale, 7);
  EXPECT_EQ(emit(*o), hex("020405b4 0402 080a 00000011 00000022 01 030307"));
}

TEST(TcpOptions, TheUsualAck) {
  TcpOptions o;
  o.has_timestamps = true;
  o.ts_value = 1;
  o.ts_echo = 2;
  EXPECT_EQ(emit(o), hex("0101 080a 00000001 00000002"));
  o.sack_count = 1;
  o.sacks[0] = {SeqNum(3), SeqNum(4)};
  EXPECT_EQ(emit(o), hex("0101 080a 00000001 00000002 0101 050a 00000003 00000004"));
}

TEST(TcpOptions, EndOfListStopsEvenBeforeRubbish) {
  auto o = TcpOptions::parse(hex("01 00 02 ff"));
  ASSERT_TRUE(o);
  EXPECT_EQ(*o, TcpOptions());
}

TEST(TcpOptions, LengthsThatRunOutAreMalformed) {
  for (const char* bad : {"02", "0200", "0201", "02040102 03", "fe 05 0000", "0101 080a 00000001 000000"})
    EXPECT_EQ(TcpOptions::parse(hex(bad)).error(), Errc::malformed) << bad;
}

TEST(TcpOptions, UnknownOnesAreSkipped) {
  auto o = TcpOptions::parse(hex("fd 04 f989  1c 04 8001  020405b4"));
  ASSERT_TRUE(o);
  EXPECT_EQ(o->mss, 1460);
}

TEST(TcpOptions, KnownOnesOfAWrongLengthAreIgnored) {
  auto o = TcpOptions::parse(hex("0203 05  0303 07  0403 00  0808 000000000000  0504 0000  0502"));
  ASSERT_TRUE(o);
  EXPECT_EQ(o->mss, 0);
  EXPECT_EQ(o->window_scale, 7);
  EXPECT_FALSE(o->sack_permitted);
  EXPECT_FALSE(o->has_timestamps);
  EXPECT_EQ(o->sack_count, 0);
}

TEST(TcpOptions, OfSeveralSackOptionsTheLastCountsAlone) {
  auto o = TcpOptions::parse(hex("0512 00000001 00000002 00000003 00000004  050a 00000005 00000006"));
  ASSERT_TRUE(o);
  TcpOptions last;
  last.sack_count = 1;
  last.sacks[0] = {SeqNum(5), SeqNum(6)};
  EXPECT_EQ(*o, last);
}

TEST(TcpOptions, HugeWindowScaleStaysPresent) {
  EXPECT_EQ(TcpOptions::parse(hex("0303 ff"))->window_scale, 127);
  EXPECT_EQ(TcpOptions::parse(hex("0303 00"))->window_scale, 0);
}

TEST(TcpOptions, SackBlocksAsManyAsFit) {
  TcpOptions o;
  EXPECT_EQ(o.limit_sacks(9), 4);
  EXPECT_EQ(o.size(), 36u);
  o.has_timestamps = true;
  EXPECT_EQ(o.limit_sacks(4), 3);
  EXPECT_EQ(o.size(), 40u);
  EXPECT_EQ(o.limit_sacks(1), 1);
  EXPECT_EQ(o.limit_sacks(0), 0);
  o.mss = 1460;
  o.window_scale = 7;
  EXPECT_EQ(o.limit_sacks(4), 2);
}

}  // namespace
}  // namespace ferry::wire

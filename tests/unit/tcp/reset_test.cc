#include "tcp/reset.h"

#include <gtest/gtest.h>

namespace ferry::tcp {
namespace {

TEST(Reset, WithAnAckTakesItsNumber) {
  InputSegment s;
  s.flags = kAck;
  s.seq = SeqNum(10);
  s.ack = SeqNum(99);
  OutputSegment r;
  ASSERT_TRUE(make_reset(s, r));
  EXPECT_EQ(r.flags, kRst);
  EXPECT_EQ(r.seq, SeqNum(99));
}

TEST(Reset, WithoutAnAckAcknowledgesAllOfTheSegment) {
  std::byte data[5] = {};
  InputSegment s;
  s.flags = kSyn | kFin;
  s.seq = SeqNum(0xffffffffu);
  s.payload = data;
  OutputSegment r;
  ASSERT_TRUE(make_reset(s, r));
  EXPECT_EQ(r.flags, kRst | kAck);
  EXPECT_EQ(r.seq, SeqNum(0));
  EXPECT_EQ(r.ack, SeqNum(6));
}

TEST(Reset, NeverAnswersAReset) {
  InputSegment s;
  s.flags = kRst | kAck;
  OutputSegment r;
  EXPECT_FALSE(make_reset(s, r));
}

}  // namespace
}  // namespace ferry::tcp

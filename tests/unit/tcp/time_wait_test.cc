#include "tcp/time_wait.h"

#include <gtest/gtest.h>

namespace ferry::tcp {
namespace {

class TimeWaitTest : public ::testing::Test {
 protected:
  void SetUp() override {
    wait.snd_nxt = SeqNum(500);
    wait.rcv_nxt = SeqNum(1000);
    wait.rcv_wnd = 65535;
    wait.timestamps = true;
    wait.ts_recent = 77;
    wait.ts_recent_at = now;
    wait.expires = now + TimeWait::kDuration;
  }
  InputSegment segment(uint8_t flags, uint32_t seq, uint32_t ts) {
    InputSegment s;
    s.flags = flags;
    s.seq = SeqNum(seq);
    s.ack = SeqNum(500);
    s.options.has_timestamps = true;
    s.options.ts_value = ts;
    return s;
  }
  Instant now = Instant::from_ns(5'000'000'000);
  TimeWait wait;
  OutputSegment answer;
};

TEST_F(TimeWaitTest, ANewerSynOpensAgain) {
  EXPECT_EQ(wait.on_segment(now, segment(kSyn, 10, 78), answer), TimeWait::Verdict::reopen);    // newer timestamp
  EXPECT_EQ(wait.on_segment(now, segment(kSyn, 1001, 77), answer), TimeWait::Verdict::reopen);  // newer sequence number
  EXPECT_GT(wait.next_iss(), wait.snd_nxt + 65535);
}

TEST_F(TimeWaitTest, AnOlderSynIsAnswered) {
  EXPECT_EQ(wait.on_segment(now, segment(kSyn, 10, 70), answer), TimeWait::Verdict::answer);
  EXPECT_EQ(answer.ack, SeqNum(1000));
  EXPECT_EQ(wait.on_segment(now, segment(kSyn, 10, 70), answer), TimeWait::Verdict::drop);  // seldom
}

TEST_F(TimeWaitTest, TheFinAgainIsAcknowledgedAndRestartsTheWait) {
  now = now + Duration::seconds(30);
  EXPECT_EQ(wait.on_segment(now, segment(kFin | kAck, 999, 80), answer), TimeWait::Verdict::answer);
  EXPECT_EQ(wait.expires, now + TimeWait::kDuration);
  EXPECT_EQ(answer.seq, SeqNum(500));
  EXPECT_TRUE(answer.options.has_timestamps);
  EXPECT_EQ(answer.options.ts_echo, 77u);
}

TEST_F(TimeWaitTest, OnlyAnExactResetCounts) {
  EXPECT_EQ(wait.on_segment(now, segment(kRst, 1001, 80), answer), TimeWait::Verdict::drop);
  EXPECT_EQ(wait.on_segment(now, segment(kRst, 1000, 80), answer), TimeWait::Verdict::closed);
}

TEST_F(TimeWaitTest, ActiveReuseNeedsTimestampsAndASecond) {
  EXPECT_FALSE(wait.may_reopen_actively(now + Duration::ms(999)));
  EXPECT_TRUE(wait.may_reopen_actively(now + Duration::seconds(1)));
  wait.timestamps = false;
  EXPECT_FALSE(wait.may_reopen_actively(now + Duration::seconds(30)));
}

}  // namespace
}  // namespace ferry::tcp

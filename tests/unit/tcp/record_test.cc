#include "tcp/record.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "support/tcp_endpoint.h"

namespace ferry::tcp::testing {
namespace {

class RecordTest : public ::testing::Test {
 protected:
  void SetUp() override {
    tcp::Setup setup;
    setup.iss = SeqNum(100);
    end.reset(setup);
    Wire syn = segment(kSyn, 0);
    syn.options.sack_permitted = true;
    syn.options.mss = 1000;
    end->open_passive(now, syn.input());
    end.receive(now, segment(kAck, 1));
    ASSERT_EQ(end->state(), State::established);
    Wire early = segment(kAck, 51);
    early.payload = "early";
    end.receive(now, early);
    ASSERT_TRUE(end.send(now, "hello").ok());
    end.sent.clear();
  }
  Wire segment(uint8_t flags, uint32_t seq) {
    Wire w;
    w.flags = flags;
    w.seq = SeqNum(7000 + seq);
    w.ack = SeqNum(101);
    w.window = 60000;
    return w;
  }
  Instant now = Instant::from_ns(1'000'000'000);
  TcpEndpoint end;
};

TEST_F(RecordTest, ARestoredConnectionIsRecordedTheSame) {
  std::vector<std::byte> record = end.save();
  ASSERT_EQ(record.size(), sizeof(Record) + 2 * sizeof(RecordRange));
  TcpEndpoint other;
  ASSERT_TRUE(other->restore(now, record).ok());
  EXPECT_EQ(other.save(), record);
  EXPECT_EQ(other->state(), State::established);
  EXPECT_EQ(other->outstanding(), 5u);
}

TEST_F(RecordTest, GoesOnWhereItWas) {
  std::vector<std::byte> record = end.save();
  end.drop();
  ASSERT_TRUE(end.revive(now, record).ok());
  ASSERT_EQ(end.sent.size(), 2u);  // an acknowledgement with what waits out of order, and the data again
  EXPECT_EQ(end.sent[0].options.sack_count, 1);
  EXPECT_EQ(end.sent[1].payload, "hello");
  Wire rest = segment(kAck, 1);
  rest.payload.assign(50, 'x');
  rest.ack = SeqNum(106);
  end.receive(now, rest);
  EXPECT_EQ(end.received, std::string(50, 'x') + "early");
  EXPECT_EQ(end.completed, 5u);
}

TEST_F(RecordTest, RefusesWhatDoesNotAddUp) {
  std::vector<std::byte> good = end.save();
  auto restored = [&](std::vector<std::byte> record) {
    TcpEndpoint other;
    return other->restore(now, record).error();
  };
  auto with = [&](size_t at, uint8_t value) {
    std::vector<std::byte> r = good;
    r[at] = static_cast<std::byte>(value);
    return r;
  };
  EXPECT_EQ(restored(good), Errc::ok);
  EXPECT_EQ(restored(with(0, 0)), Errc::version_mismatch);
  EXPECT_EQ(restored(with(offsetof(Record, version), 2)), Errc::version_mismatch);
  EXPECT_EQ(restored(with(offsetof(Record, state), 99)), Errc::malformed);
  EXPECT_EQ(restored(with(offsetof(Record, state), static_cast<uint8_t>(State::time_wait))), Errc::malformed);
  EXPECT_EQ(restored(with(offsetof(Record, snd_nxt), 250)), Errc::malformed);
  EXPECT_EQ(restored(with(offsetof(Record, send_ranges), 9)), Errc::malformed);
  EXPECT_EQ(restored(with(offsetof(Record, keep_count), 0)), Errc::malformed);
  good.pop_back();
  EXPECT_EQ(restored(good), Errc::malformed);
  good.resize(10);
  EXPECT_EQ(restored(good), Errc::invalid);
}

TEST_F(RecordTest, NoPlaceNoRecord) {
  std::vector<std::byte> small(end->record_size() - 1);
  EXPECT_EQ(end->save(small).error(), Errc::no_buffers);
  end->abort(now);
  std::vector<std::byte> enough(1000);
  EXPECT_EQ(end->save(enough).error(), Errc::invalid);
}

}  // namespace
}  // namespace ferry::tcp::testing

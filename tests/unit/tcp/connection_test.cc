// What scripts cannot say: sizes, deadlines, the order of events, reading many small pieces.
#include "tcp/connection.h"

#include <gtest/gtest.h>

#include "port/user/hooks.h"
#include "support/tcp_path.h"

namespace ferry::tcp::testing {
namespace {

int g_allocations = 0;

class ConnectionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    tcp::Setup s;
    s.max_gso = 65536;
    s.iss = SeqNum(1);
    a.reset(s);
    s.iss = SeqNum(2);
    b.reset(s);
    path.listening = true;
    a->open_active(path.now());
    path.run(Instant() + Duration::seconds(1));
    ASSERT_EQ(a->state(), State::established);
    ASSERT_EQ(b->state(), State::established);
  }
  // Until nothing happens for a second; the receiver reads everything.
  void settle() {
    Instant end = path.now() + Duration::seconds(1);
    for (bool more = true; more;) {
      more = path.step(end);
      if (b->unread() > 0) b->consumed(path.now(), b->unread());
    }
  }
  TcpEndpoint a, b;
  TcpPath path{a, b, {}};
};

TEST_F(ConnectionTest, AnIdleConnectionOwnsNothingAndWaitsForNothing) {
  EXPECT_LE(sizeof(Connection), 1024u);
  ASSERT_TRUE(a.send(path.now(), std::string(100'000, 'x')).ok());
  settle();
  EXPECT_TRUE(a->next_deadline().is_never());
  EXPECT_TRUE(b->next_deadline().is_never());
  EXPECT_EQ(a->record_size(), b->record_size());  // no descriptors on either side
}

TEST_F(ConnectionTest, TheDeadlineIsAnnouncedWhenItComesCloser) {
  uint32_t before = a.deadline_changes;
  ASSERT_TRUE(a.send(path.now(), "x").ok());
  EXPECT_EQ(a.deadline_changes, before + 1);
  // Nothing is due: nothing happens.
  size_t sent = a.sent.size();
  a->on_timer(path.now());
  EXPECT_EQ(a.sent.size(), sent);
}

TEST_F(ConnectionTest, SuperSegmentsAreMultiplesOfTheMss) {
  ASSERT_TRUE(a.send(path.now(), std::string(100'000, 'x')).ok());
  ASSERT_FALSE(a.sent.empty());
  EXPECT_EQ(a.sent[0].payload.size(), 14'480u);  // ten segments: the initial window (RFC 6928)
  EXPECT_EQ(a.sent[0].payload.size() % a->mss(), 0u);
  settle();
  EXPECT_EQ(b.received.size(), 100'000u);
}

TEST_F(ConnectionTest, BuffersGrowWithTheFlow) {
  uint32_t send_before = a->send_buffer(), receive_before = b->receive_buffer();
  size_t read = 0;
  for (int i = 0; i < 20'000 && b.received.size() < 30'000'000; ++i) {
    while (a->send_space() > 0) ASSERT_TRUE(a.send(path.now(), std::string(50'000, 'x')).ok());
    path.step(path.now() + Duration::seconds(1));
    if (b.received.size() > read) b->consumed(path.now(), static_cast<uint32_t>(b.received.size() - read));
    read = b.received.size();
  }
  EXPECT_GT(a->send_buffer(), 4 * send_before);
  EXPECT_GT(b->receive_buffer(), 4 * receive_before);
  EXPECT_LE(b->receive_buffer(), 6u << 20);
  EXPECT_LE(a->send_buffer(), 4u << 20);
  a->abort(path.now());
}

TEST_F(ConnectionTest, ReportAfterSaysWhenConsumedMatters) {
  ASSERT_TRUE(a.send(path.now(), std::string(60'000, 'x')).ok());
  path.run(path.now() + Duration::seconds(1));
  ASSERT_EQ(b.received.size(), 60'000u);
  uint32_t n = b->report_after();
  ASSERT_GT(n, 1u);
  ASSERT_LE(n, b->receive_buffer() / 4);
  b.sent.clear();
  b->consumed(path.now(), 1);
  EXPECT_TRUE(b.sent.empty());
}

TEST_F(ConnectionTest, TheFastPathDoesNotAllocate) {
  ASSERT_TRUE(a.send(path.now(), std::string(1000, 'x')).ok());
  settle();
  port::set_allocation_gate([](size_t) { return ++g_allocations > 0; });
  g_allocations = 0;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(a.send(path.now(), std::string(1000, 'x')).ok());
    settle();
  }
  port::set_allocation_gate(nullptr);
  EXPECT_EQ(g_allocations, 0);
  EXPECT_EQ(b.received.size(), 101'000u);
}

TEST_F(ConnectionTest, InfoTellsOfTheTransfer) {
  ASSERT_TRUE(a.send(path.now(), std::string(5000, 'x')).ok());
  settle();
  TcpInfo i = a->info(path.now());
  EXPECT_EQ(i.state, State::established);
  EXPECT_EQ(i.bytes_acked, 5000u);
  EXPECT_EQ(i.rtt_us, 1000u);
  EXPECT_EQ(i.unacked, 0u);
  EXPECT_EQ(i.snd_mss, 1448u);
  EXPECT_TRUE(i.sack && i.timestamps && i.scaling);
  EXPECT_EQ(b->info(path.now()).bytes_received, 5000u);
}

TEST_F(ConnectionTest, TheHostMayDestroyItWhenItIsClosed) {
  // on_events is the last thing that happens: an endpoint that drops its connection there is safe (checked by sanitizers).
  struct Dropper : TcpEndpoint {
    using TcpEndpoint::TcpEndpoint;
    void on_events(Connection& c, uint32_t e) override {
      TcpEndpoint::on_events(c, e);
      if ((e & static_cast<uint32_t>(Event::closed)) != 0) drop();
    }
  } d;
  d->open_active(path.now());
  Connection* c = &*d;
  c->abort(path.now());
  EXPECT_TRUE(d.saw(Event::closed));
}

}  // namespace
}  // namespace ferry::tcp::testing

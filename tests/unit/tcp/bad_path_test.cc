// Two connections over paths that lose, reorder, duplicate; readers that sleep; memory that is short; ends that are rebuilt from
// their records. Every byte must arrive, both ends must close, every descriptor must come back. A failing seed is printed.
#include <gtest/gtest.h>

#include "port/user/hooks.h"
#include "support/tcp_transfer.h"

namespace ferry::tcp::testing {
namespace {

TransferConfig config_of(uint64_t seed) {
  TransferConfig c;
  c.path.seed = seed;
  c.path.gro = seed % 2 == 0;
  c.path.delay = Duration::us(seed % 5 == 0 ? 20'000 : 200);
  c.client.iss = SeqNum(static_cast<uint32_t>(0xfffff000u + seed * 7919));
  c.server.iss = SeqNum(static_cast<uint32_t>(seed * 104729));
  c.client.max_gso = seed % 3 == 0 ? 0 : 65536;
  c.server.max_gso = seed % 4 == 0 ? 0 : 65536;
  c.client.options.congestion = seed % 5 == 1 ? cc::Algorithm::newreno : cc::Algorithm::cubic;
  return c;
}

void check(const TransferConfig& c) {
  TransferResult r = transfer(c);
  EXPECT_EQ(r.error, "") << "seed " << c.path.seed;
}

TEST(BadPath, CleanPathLosesNoTime) {
  TransferConfig c = config_of(2);
  c.client_bytes = 10'000'000;
  c.eager_reader = true;
  TransferResult r = transfer(c);
  EXPECT_EQ(r.error, "");
  EXPECT_EQ(r.retransmissions, 0u);
  EXPECT_LT(r.took.count_ms(), 200);
}

TEST(BadPath, LossAndReordering) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    TransferConfig c = config_of(seed);
    c.path.loss_permille = 20;
    c.path.reorder_permille = 30;
    c.path.duplicate_permille = 10;
    check(c);
  }
}

TEST(BadPath, TwoPercentLossKeepsMoving) {
  TransferConfig c = config_of(4);
  c.client_bytes = 5'000'000;
  c.server_bytes = 1000;
  c.path.loss_permille = 20;
  c.path.reorder_permille = 20;
  TransferResult r = transfer(c);
  EXPECT_EQ(r.error, "");
  // Recovery by timeout alone would need minutes (200 ms for each of about 70 losses a megabyte).
  EXPECT_LT(r.took.count_ms(), 5'000);
}

TEST(BadPath, HeavyLoss) {
  for (uint64_t seed = 100; seed < 120; ++seed) {
    TransferConfig c = config_of(seed);
    c.client_bytes = c.server_bytes = 30'000;
    c.path.loss_permille = 200;
    c.path.reorder_permille = 200;
    check(c);
  }
}

TEST(BadPath, SleepingReaders) {
  for (uint64_t seed = 200; seed < 220; ++seed) {
    TransferConfig c = config_of(seed);
    c.lazy_reader = true;
    c.client.options.receive_buffer = 8192;
    c.path.loss_permille = 30;
    check(c);
  }
}

TEST(BadPath, ReceiverWithoutMemoryNowAndThen) {
  for (uint64_t seed = 300; seed < 315; ++seed) {
    TransferConfig c = config_of(seed);
    c.client_bytes = c.server_bytes = 50'000;
    c.place_refusal_permille = 200;
    check(c);
  }
}

// A super-segment may be longer than what an owner has room for in one piece; the memory may be at its end between two of them.
TEST(BadPath, ReceiverThatTakesSuperSegmentsInPieces) {
  for (uint64_t seed = 330; seed < 350; ++seed) {
    TransferConfig c = config_of(seed);
    c.client.max_gso = c.server.max_gso = 200'000;
    c.client_bytes = c.server_bytes = 2'000'000;
    c.place_piece = 1000 + seed;
    c.place_limit = seed % 3 == 0 ? 300'000 : UINT64_MAX;
    c.place_refusal_permille = seed % 2 == 0 ? 0 : 100;
    c.path.loss_permille = seed % 4 == 0 ? 0 : 10;
    c.path.reorder_permille = 20;
    check(c);
  }
}

// What came early fills the room for what is missing: without giving it up the gap would never close.
TEST(BadPath, ReceiverWithRoomForLessThanItsWindow) {
  for (uint64_t seed = 350; seed < 365; ++seed) {
    TransferConfig c = config_of(seed);
    c.eager_reader = true;
    c.place_limit = 6000;
    c.path.loss_permille = 50;
    check(c);
  }
}

TEST(BadPath, ConnectionsSurviveBeingRebuilt) {
  uint32_t rebuilt = 0;
  for (uint64_t seed = 400; seed < 440; ++seed) {
    TransferConfig c = config_of(seed);
    c.path.loss_permille = seed % 2 == 0 ? 0 : 20;
    c.path.reorder_permille = seed % 2 == 0 ? 0 : 20;
    c.rebuild_permille = 150;
    TransferResult r = transfer(c);
    EXPECT_EQ(r.error, "") << "seed " << seed;
    rebuilt += r.rebuilt;
  }
  EXPECT_GT(rebuilt, 100u);
}

// --- memory ---

int g_allocations_until_failure = -1;
int g_allocations = 0;
bool fail_nth(size_t) {
  ++g_allocations;
  return g_allocations_until_failure < 0 || g_allocations != g_allocations_until_failure;
}
bool fail_every_third(size_t) { return ++g_allocations % 3 != 0; }
bool fail_all(size_t) { return false; }

class Memory : public ::testing::Test {
 protected:
  void SetUp() override { g_allocations = 0, g_allocations_until_failure = -1; }
  void TearDown() override { port::set_allocation_gate(nullptr); }
};

TransferConfig lossy() {
  TransferConfig c = config_of(7);
  c.path.loss_permille = 50;
  c.path.reorder_permille = 50;
  return c;
}

TEST_F(Memory, AnyOneAllocationMayFail) {
  port::set_allocation_gate(fail_nth);
  ASSERT_EQ(transfer(lossy()).error, "");
  int total = g_allocations;
  ASSERT_GT(total, 10);
  for (int n = 1; n <= total; ++n) {
    g_allocations = 0;
    g_allocations_until_failure = n;
    EXPECT_EQ(transfer(lossy()).error, "") << "allocation " << n;
  }
}

TEST_F(Memory, ManyAllocationsMayFail) {
  port::set_allocation_gate(fail_every_third);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(transfer(lossy()).error, "");
  port::set_allocation_gate(fail_all);  // what lives inside the connection is enough to get through
  TransferConfig c = lossy();
  c.client_bytes = c.server_bytes = 20'000;
  EXPECT_EQ(transfer(c).error, "");
}

}  // namespace
}  // namespace ferry::tcp::testing

#include "net/neighbor_table.h"

#include <gtest/gtest.h>

#include "net_fixture.h"

namespace ferry::net {
namespace {

using test::Bytes;

struct NeighborTableTest : ::testing::Test {
  NeighborTable table;
  test::OneRegion memory;

  buf::Packet packet(uint32_t payload) {
    buf::Packet p;
    memory.bytes = test::pattern(payload);
    copy_bytes(p.append_header(14), test::pattern(14, 3));
    if (payload > 0) p.append_part({0, payload, 1});
    return p;
  }
  void TearDown() override { port::set_allocation_gate(nullptr); }
};

TEST_F(NeighborTableTest, FindsWhatWasAdded) {
  for (uint32_t i = 1; i <= 300; ++i) ASSERT_NE(table.add({i}), nullptr);
  for (uint32_t i = 1; i <= 300; ++i) ASSERT_EQ(table.find({i})->address.value, i);
  EXPECT_EQ(table.find({301}), nullptr);
  table.remove(*table.find({7}));
  EXPECT_EQ(table.find({7}), nullptr);
  EXPECT_EQ(table.size(), 299u);
}

TEST_F(NeighborTableTest, FullTableGivesUpTheLeastRecentlyUsed) {
  for (uint32_t i = 1; i <= NeighborTable::kMaxNeighbors; ++i) ASSERT_NE(table.add({i}), nullptr);
  table.touch(*table.find({1}));
  ASSERT_NE(table.add({5000}), nullptr);
  EXPECT_EQ(table.size(), NeighborTable::kMaxNeighbors);
  EXPECT_NE(table.find({1}), nullptr);
  EXPECT_EQ(table.find({2}), nullptr);
}

TEST_F(NeighborTableTest, EntriesWithWaitingFramesStay) {
  for (uint32_t i = 1; i <= NeighborTable::kMaxNeighbors; ++i) {
    Neighbor* n = table.add({i});
    if (i <= 3) {
      ASSERT_TRUE(table.enqueue(*n, packet(10), memory));
    }
  }
  ASSERT_NE(table.add({5000}), nullptr);
  EXPECT_NE(table.find({1}), nullptr);
  EXPECT_EQ(table.find({4}), nullptr);
}

TEST_F(NeighborTableTest, KeepsAWholeCopyInOrder) {
  Neighbor* n = table.add({1});
  buf::Packet p = packet(100);
  const Bytes tail = test::pattern(20, 5);
  p.tail = tail;
  p.payload_length += 20;
  p.offload.gso_size = 50;
  const Bytes whole = test::flatten(p, memory);
  ASSERT_TRUE(table.enqueue(*n, p, memory));
  ASSERT_TRUE(table.enqueue(*n, packet(1), memory));
  memory.bytes.clear();  // the client's memory may change or go
  WaitingFrame* first = table.dequeue(*n);
  EXPECT_EQ(test::copy(first->bytes()), whole);
  EXPECT_EQ(first->offload.gso_size, 50);
  EXPECT_EQ(first->header_length, 14);
  NeighborTable::release(first);
  WaitingFrame* second = table.dequeue(*n);
  EXPECT_EQ(second->length, 15u);
  NeighborTable::release(second);
  EXPECT_EQ(table.dequeue(*n), nullptr);
}

TEST_F(NeighborTableTest, QueueIsBoundedInFramesAndBytes) {
  Neighbor* n = table.add({1});
  for (uint32_t i = 0; i < NeighborTable::kMaxWaiting; ++i) ASSERT_TRUE(table.enqueue(*n, packet(10), memory));
  EXPECT_EQ(table.enqueue(*n, packet(10), memory).error(), Errc::no_buffers);

  Neighbor* big = table.add({2});
  uint32_t queued = 0;
  while (table.enqueue(*big, packet(60000), memory)) ++queued;
  EXPECT_EQ(queued, NeighborTable::kMaxWaitingBytes / 60014);

  uint32_t neighbours = 2;
  while (table.enqueue(*table.add({++neighbours}), packet(60000), memory)) {}
  EXPECT_LE(neighbours, 3 + NeighborTable::kMaxTotalBytes / 60000);
  // Whoever goes gives its share back.
  table.remove(*big);
  EXPECT_TRUE(table.enqueue(*table.find({neighbours}), packet(60000), memory));
}

TEST_F(NeighborTableTest, PayloadThatIsGoneIsRefused) {
  Neighbor* n = table.add({1});
  buf::Packet p = packet(100);
  memory.bytes.resize(50);
  EXPECT_EQ(table.enqueue(*n, p, memory).error(), Errc::invalid);
  EXPECT_EQ(n->waiting_count, 0u);
}

TEST_F(NeighborTableTest, WithoutMemoryNothingChanges) {
  Neighbor* n = table.add({1});
  port::set_allocation_gate([](size_t) { return false; });
  EXPECT_EQ(table.add({2}), nullptr);
  EXPECT_EQ(table.enqueue(*n, packet(10), memory).error(), Errc::no_memory);
  port::set_allocation_gate(nullptr);
  EXPECT_EQ(table.size(), 1u);
  EXPECT_EQ(table.find({2}), nullptr);
}

}  // namespace
}  // namespace ferry::net

// src/ipc/block_fifo.cc: pieces of a stream never overlap while outstanding, and all memory comes back.
#include "ipc/block_fifo.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <deque>
#include <vector>

namespace ferry::ipc {
namespace {

class PoolSource final : public BlockFifo::Source {
 public:
  explicit PoolSource(uint64_t granules) : pool(std::move(*Pool::create({0, granules * Pool::kGranule}))), total(pool.free_bytes()) {}
  Result<Pool::Run> allocate_block(uint32_t bytes) override { return pool.allocate(bytes); }
  void release_block(uint64_t offset) override { pool.release(offset); }
  void release_reference(uint64_t token) override { given_back.push_back(token); }
  bool whole() const { return pool.free_bytes() == total; }
  Pool pool;
  uint64_t total;
  std::vector<uint64_t> given_back;
};

Pool::Run append(BlockFifo& fifo, PoolSource& source, uint32_t n) {
  auto run = fifo.reserve(source, n, n);
  EXPECT_TRUE(run.ok());
  fifo.commit(n);
  return {run->offset, n};
}

TEST(BlockFifo, SmallPiecesShareABlock) {
  PoolSource source(64);
  BlockFifo fifo;
  auto a = append(fifo, source, 100), b = append(fifo, source, 100);
  EXPECT_EQ(b.offset, a.offset + 100);
  EXPECT_EQ(source.total - source.pool.free_bytes(), 4096u);
  fifo.release_all(source);
  EXPECT_TRUE(source.whole());
}

TEST(BlockFifo, DrainedStreamUsesTheSameBytesAgain) {
  PoolSource source(64);
  BlockFifo fifo;
  auto a = append(fifo, source, 100);
  fifo.complete(source, 100);
  auto b = append(fifo, source, 100);
  EXPECT_EQ(a.offset, b.offset);
  fifo.release_all(source);
}

TEST(BlockFifo, DrainedStreamGivesLargeBlocksBack) {
  PoolSource source(64);
  BlockFifo fifo;
  append(fifo, source, 65536);
  fifo.complete(source, 65536);
  EXPECT_TRUE(source.whole());
}

TEST(BlockFifo, ReferencesAreGivenBackInOrderAmongBlocks) {
  PoolSource source(64);
  BlockFifo fifo;
  append(fifo, source, 100);
  ASSERT_TRUE(fifo.refer(1 << 20, 7));
  ASSERT_TRUE(fifo.refer(10, 8));
  append(fifo, source, 50);
  EXPECT_EQ(fifo.outstanding(), 100u + (1 << 20) + 60);
  fifo.complete(source, 100 + (1 << 20) - 1);
  EXPECT_TRUE(source.given_back.empty());
  fifo.complete(source, 100 + (1 << 20));
  EXPECT_EQ(source.given_back, std::vector<uint64_t>{7});
  fifo.complete(source, fifo.committed());
  EXPECT_EQ(source.given_back, (std::vector<uint64_t>{7, 8}));
  fifo.release_all(source);
  EXPECT_TRUE(source.whole());
}

TEST(BlockFifo, AReferenceAtTheEndIsGivenBackAtOnceAndNeverFilled) {
  PoolSource source(64);
  BlockFifo fifo;
  ASSERT_TRUE(fifo.refer(5, 1));
  auto run = fifo.reserve(source, 1, 10);
  ASSERT_TRUE(run.ok());
  fifo.commit(10);
  ASSERT_TRUE(fifo.refer(5, 2));
  fifo.complete(source, 20);
  EXPECT_EQ(source.given_back, (std::vector<uint64_t>{1, 2}));
  EXPECT_FALSE(fifo.has_blocks() && fifo.outstanding() > 0);
  ASSERT_TRUE(fifo.refer(5, 3));
  fifo.release_all(source);
  EXPECT_EQ(source.given_back, (std::vector<uint64_t>{1, 2, 3}));
  EXPECT_TRUE(source.whole());
}

TEST(BlockFifo, ImpossiblePositionsAreIgnored) {
  PoolSource source(64);
  BlockFifo fifo;
  append(fifo, source, 1000);
  fifo.complete(source, 1001);
  EXPECT_EQ(fifo.outstanding(), 1000u);
  fifo.complete(source, 600);
  fifo.complete(source, 500);
  EXPECT_EQ(fifo.outstanding(), 400u);
  fifo.release_all(source);
  EXPECT_TRUE(source.whole());
}

TEST(BlockFifo, BlocksGrowWhileDataPilesUp) {
  PoolSource source(256);
  BlockFifo fifo;
  int blocks = 0;
  for (int i = 0; i < 200; ++i) {
    const uint64_t before = source.pool.free_bytes();
    append(fifo, source, 1448);
    blocks += source.pool.free_bytes() != before ? 1 : 0;
  }
  EXPECT_LE(blocks, 8);  // 4 + 8 + 16 + … KiB, not 100 of 4 KiB
  fifo.complete(source, fifo.committed());
  fifo.release_all(source);
  EXPECT_TRUE(source.whole());
}

TEST(BlockFifo, TakesOverWithPosition) {
  PoolSource source(64);
  BlockFifo fifo, heir;
  append(fifo, source, 300);
  fifo.complete(source, 100);
  heir.take_over(fifo);
  EXPECT_FALSE(fifo.has_blocks());
  EXPECT_EQ(heir.outstanding(), 200u);
  heir.complete(source, 300);
  heir.release_all(source);
  EXPECT_TRUE(source.whole());
}

TEST(BlockFifo, PoolThatIsShortGivesLessThanWanted) {
  PoolSource source(1);
  BlockFifo fifo;
  auto run = fifo.reserve(source, 1, 65536);
  ASSERT_TRUE(run.ok());
  EXPECT_EQ(run->length, 4096u);
  fifo.commit(4096);
  EXPECT_EQ(fifo.reserve(source, 1, 65536).error(), Errc::no_buffers);
  fifo.release_all(source);
  EXPECT_TRUE(source.whole());
}

TEST(BlockFifo, OutstandingPiecesNeverOverlap) {
  EXPECT_TRUE(rc::check([] {
    PoolSource source(200);
    BlockFifo fifo;
    struct Piece {
      uint64_t offset, end_position;
      uint32_t length;
    };
    std::deque<Piece> live;
    const auto steps = *rc::gen::container<std::vector<std::pair<uint32_t, uint32_t>>>(
        rc::gen::pair(rc::gen::inRange<uint32_t>(0, 4), rc::gen::inRange<uint32_t>(1, 70000)));
    for (const auto& [kind, number] : steps) {
      if (kind != 0) {
        const uint32_t wanted = kind == 1 ? number : number % 300 + 1;
        auto run = fifo.reserve(source, 1, wanted);
        if (!run) continue;
        RC_ASSERT(run->length >= 1 && run->length <= wanted);
        for (const Piece& p : live) {
          const bool apart = run->offset + run->length <= p.offset || p.offset + p.length <= run->offset;
          RC_ASSERT(apart);
        }
        fifo.commit(run->length);
        live.push_back({run->offset, fifo.committed(), run->length});
      } else {
        const uint64_t position = fifo.completed() + number % (fifo.outstanding() + 1);
        fifo.complete(source, position);
        while (!live.empty() && live.front().end_position <= position) live.pop_front();
      }
    }
    fifo.complete(source, fifo.committed());
    fifo.release_all(source);
    RC_ASSERT(source.whole());
  }));
}

}  // namespace
}  // namespace ferry::ipc

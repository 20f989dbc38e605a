// Memory for a stream of pieces that come and go in any order: pieces are appended to a current block, so that small ones share
// it, and a block goes back to the pool when every byte appended to it has been released. The server's input: pieces are placed
// out of order, delivered or discarded, and released as the client consumes them.
//
// A stream that is idle holds no memory. Blocks grow while data piles up (4 KiB … 256 KiB) and start small again when drained.
// Not thread safe: the owner of the pool locks. In-order completion (a client's output) is simpler: ipc/block_fifo.h.
#pragma once

#include <cstdint>
#include <memory>

#include "base/result.h"
#include "ipc/pool.h"

namespace ferry::ipc {

// A pool whose runs count the bytes in use in them.
class BlockPool {
 public:
  static Result<BlockPool> create(PoolArea area);
  Pool& pool() { return pool_; }

 private:
  friend class BlockStream;
  struct Block {
    uint32_t live = 0;   // bytes appended and not released
    bool open = false;   // some stream's current block
  };
  BlockPool(Pool pool, std::unique_ptr<Block[]> blocks) : pool_(std::move(pool)), blocks_(std::move(blocks)) {}
  Block& block_at(uint64_t offset) { return blocks_[(offset - pool_.area().offset) / Pool::kGranule]; }
  Pool pool_;
  std::unique_ptr<Block[]> blocks_;  // indexed by the first granule of a run
};

class BlockStream {
 public:
  explicit BlockStream(BlockPool& pool) : pool_(&pool) {}
  BlockStream(const BlockStream&) = delete;
  BlockStream& operator=(const BlockStream&) = delete;
  // Closes the current block. Pieces still live stay valid until released through any stream of the pool.
  ~BlockStream() { close(); }

  // Room for `length` contiguous bytes (1 … Pool::kMaxRun): its offset in the memfd. Errc::no_buffers when the pool is empty.
  Result<uint64_t> append(uint32_t length);
  // `length` bytes at `offset`, all inside one appended piece, are no longer needed. Every appended byte is released once,
  // in any portions and order. Errc::invalid (nothing changed) for bytes that are not live: an owner's bug.
  Status release(uint64_t offset, uint32_t length);
  // Gives the current block back as soon as its bytes are released; append() starts another.
  void close();

 private:
  BlockPool* pool_;
  Pool::Run current_;          // length 0: none
  uint32_t fill_ = 0;          // bytes of current_ handed out
  uint32_t next_size_ = Pool::kGranule;
};

}  // namespace ferry::ipc

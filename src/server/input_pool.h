// Memory for received payload: a pool of equal blocks in one region, filled as a stream.
//
// Pieces are cut one after the other from the current block, whoever they are for, so that what arrives for one socket in a row
// adjoins and becomes one descriptor, and a thousand small messages share a block. What is given back from the end of the last piece (more was
// asked for than came) is cut again. A block is used again when all of its bytes
// have been given back; blocks are used last-in first-out, so that a busy pool stays small and warm.
// All of this book-keeping is in the server's own memory: nothing a client writes can confuse it. (A client's output, completed
// in order, has ipc/block_fifo.h.)
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "ipc/descriptor_ring.h"

namespace ferry::server {

class InputPool {
 public:
  static constexpr uint32_t kBlockSize = 256 * 1024;  // also the largest piece, bytes

  // Serves `area` of a region; whole blocks only.
  explicit InputPool(ipc::PoolArea area);

  // Offset (in the region) of `length` bytes at a multiple of `alignment` (a power of two). Errc::no_buffers when full or
  // length > kBlockSize.
  Result<uint64_t> allocate(uint32_t length, uint32_t alignment = 1);
  // Gives back bytes of allocated pieces; a piece may be given back in parts, and adjoining pieces at once.
  void release(uint64_t offset, uint32_t length);

  uint64_t used_bytes() const { return used_; }
  // Blocks that were ever used: what the pool occupies in memory.
  uint32_t touched_blocks() const { return fresh_; }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  bool next_block();

  uint64_t offset_;
  uint64_t used_ = 0;
  uint32_t current_ = kNone;    // block being filled
  uint32_t fill_ = 0;           // bytes of it handed out or skipped; 0 whenever none of them is in use
  uint32_t fresh_ = 0;          // blocks from this number on have never been used
  std::vector<uint32_t> live_;  // bytes in use, per block
  std::vector<uint32_t> free_;  // used before, empty now
};

}  // namespace ferry::server

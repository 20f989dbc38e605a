// Memory for a stream whose bytes are completed in the order they were appended: a client's output. Small writes share the
// current block; a block goes back when the completed position has passed its last byte, and is used again from its start when
// nothing is outstanding at all (hot in the cache). Between blocks there may be bytes that lie elsewhere and are only referred to.
//
// Positions are 64-bit counts of bytes since the stream began. Not thread safe: the owner's lock (tx_lock) protects it; the
// pool behind it is reached through Source, whose owner may share it among threads.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "ipc/pool.h"

namespace ferry::ipc {

class BlockFifo {
 public:
  // Where blocks come from.
  class Source {
   public:
    virtual Result<Pool::Run> allocate_block(uint32_t bytes) = 0;
    virtual void release_block(uint64_t offset) = 0;
    // Nobody refers any more to what refer() was told of.
    virtual void release_reference(uint64_t token) = 0;

   protected:
    ~Source() = default;
  };

  BlockFifo() = default;
  BlockFifo(const BlockFifo&) = delete;
  BlockFifo& operator=(const BlockFifo&) = delete;
  // The owner has called release_all() or take_over(); whatever is left is forgotten, not released.
  ~BlockFifo();

  // Contiguous room for at least `minimum` and, if cheap, up to `wanted` bytes (minimum <= wanted, 1 … Pool::kMaxRun for both).
  // The run is the caller's to fill; commit() makes part of it outstanding. Errc::no_buffers, Errc::no_memory.
  Result<Pool::Run> reserve(Source& source, uint32_t minimum, uint32_t wanted);
  // The first `n` bytes of what reserve() returned are in use.
  void commit(uint32_t n);
  // Leaves out `n` bytes of what reserve() returned: they are not part of the stream.
  void pad(uint32_t n);
  // Bytes of the current block in use.
  uint32_t fill() const { return fill_; }
  // The stream goes on with `n` bytes that lie elsewhere; `token` is given back when they are completed. False: no memory.
  [[nodiscard]] bool refer(uint32_t n, uint64_t token);
  // Everything before `position` is no longer referred to; a position that goes back or beyond what was committed is ignored.
  void complete(Source& source, uint64_t position);
  // Gives every block back: nobody refers to them any more.
  void release_all(Source& source);
  // A stream that goes on at `position`, all of it completed; *this is empty before.
  void start_at(uint64_t position) { committed_ = completed_ = position; }
  // Becomes what `other` is, and leaves it empty; *this is empty before.
  void take_over(BlockFifo& other);

  bool has_blocks() const { return first_ != nullptr; }
  uint64_t committed() const { return committed_; }   // bytes
  uint64_t completed() const { return completed_; }
  uint64_t outstanding() const { return committed_ - completed_; }
  uint64_t referred() const { return referred_; }     // bytes of references not given back

 private:
  struct Block {
    Block* next;
    Pool::Run run;      // of a reference: its token as offset, length 0
    uint64_t end;       // position after the last committed byte
    uint32_t referred;  // bytes of a reference, 0: memory of the pool
    bool is_reference() const { return referred != 0; }
  };
  static constexpr uint32_t kWorthwhile = 16 * 1024;  // rest of a block that is used although less than wanted, bytes
  static constexpr uint32_t kKept = 4096;             // largest block that a drained stream keeps, bytes
  static constexpr uint32_t kLargest = 128 * 1024;    // where growth ends, bytes
  Block* take_node();
  void append(Block* node, Pool::Run run, uint32_t referred);
  void drop_first(Source& source);

  Block* first_ = nullptr;  // oldest, then towards current_
  Block* current_ = nullptr;
  Block* spare_ = nullptr;  // one node kept, so that steady traffic does not allocate
  uint32_t fill_ = 0;       // bytes of current_ in use
  uint64_t committed_ = 0;
  uint64_t completed_ = 0;
  uint64_t referred_ = 0;
};

}  // namespace ferry::ipc

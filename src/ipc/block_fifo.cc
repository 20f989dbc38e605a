#include "ipc/block_fifo.h"

#include <new>

#include "port/api/assert.h"

namespace ferry::ipc {

BlockFifo::~BlockFifo() {
  while (first_ != nullptr) delete std::exchange(first_, first_->next);
  delete spare_;
}

Result<Pool::Run> BlockFifo::reserve(Source& source, uint32_t minimum, uint32_t wanted) {
  FERRY_ASSERT(minimum >= 1 && minimum <= wanted && wanted <= Pool::kMaxRun);
  if (current_ != nullptr) {
    const uint32_t room = current_->run.length - fill_;
    // A large write does not start with a scrap of the old block: descriptors are dearer than a little memory.
    if (room >= minimum && (room >= wanted || room >= kWorthwhile))
      return Pool::Run{current_->run.offset + fill_, room < wanted ? room : wanted};
  }
  Block* node = take_node();
  if (node == nullptr) return Errc::no_memory;
  // While data piles up blocks grow, so that a large segment is few pieces; a drained stream starts small again.
  const uint32_t grown = outstanding() == 0 || current_ == nullptr ? 0 : current_->run.length * 2;
  const uint32_t size = grown > kLargest ? kLargest : grown;
  auto run = source.allocate_block(size > wanted ? size : wanted);
  if (!run && size > wanted) run = source.allocate_block(wanted);
  if (!run && wanted > minimum) run = source.allocate_block(minimum);  // the pool is short: take what there is
  if (!run) {
    spare_ = node;
    return run.error();
  }
  append(node, *run, 0);
  return Pool::Run{run->offset, run->length < wanted ? run->length : wanted};
}

BlockFifo::Block* BlockFifo::take_node() {
  Block* node = std::exchange(spare_, nullptr);
  return node != nullptr ? node : new (std::nothrow) Block;
}

void BlockFifo::append(Block* node, Pool::Run run, uint32_t referred) {
  committed_ += referred;
  referred_ += referred;
  *node = {nullptr, run, committed_, referred};
  if (current_ != nullptr) current_->next = node;
  else first_ = node;
  current_ = node;
  fill_ = 0;
}

bool BlockFifo::refer(uint32_t n, uint64_t token) {
  FERRY_ASSERT(n >= 1);
  Block* node = take_node();
  if (node == nullptr) return false;
  append(node, {token, 0}, n);
  return true;
}

void BlockFifo::commit(uint32_t n) {
  FERRY_ASSERT(current_ != nullptr && n <= current_->run.length - fill_);
  fill_ += n;
  committed_ += n;
  current_->end = committed_;
}

void BlockFifo::pad(uint32_t n) {
  FERRY_ASSERT(current_ != nullptr && n <= current_->run.length - fill_);
  fill_ += n;
}

void BlockFifo::complete(Source& source, uint64_t position) {
  if (position <= completed_ || position > committed_) return;
  completed_ = position;
  while (first_ != nullptr && first_->end <= completed_ && first_ != current_) drop_first(source);
  if (completed_ != committed_ || current_ == nullptr) return;
  // Nothing is outstanding. A small block stays, to be filled again from its start; a large one serves others meanwhile.
  if (!current_->is_reference() && current_->run.length <= kKept) fill_ = 0;
  else drop_first(source);
}

void BlockFifo::drop_first(Source& source) {
  Block* block = first_;
  referred_ -= block->referred;
  if (block->is_reference()) source.release_reference(block->run.offset);
  else source.release_block(block->run.offset);
  first_ = block->next;
  if (current_ == block) {
    current_ = nullptr;
    fill_ = 0;
  }
  if (spare_ == nullptr) spare_ = block;
  else delete block;
}

void BlockFifo::release_all(Source& source) {
  while (first_ != nullptr) drop_first(source);
  completed_ = committed_;
}

void BlockFifo::take_over(BlockFifo& other) {
  FERRY_ASSERT(first_ == nullptr);
  first_ = std::exchange(other.first_, nullptr);
  current_ = std::exchange(other.current_, nullptr);
  fill_ = std::exchange(other.fill_, 0);
  committed_ = std::exchange(other.committed_, 0);
  completed_ = std::exchange(other.completed_, 0);
  referred_ = std::exchange(other.referred_, 0);
}

}  // namespace ferry::ipc

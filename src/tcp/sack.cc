#include "tcp/sack.h"

namespace ferry::tcp {

void SackBlocks::add(SeqNum left, SeqNum right) {
  SackBlock merged{left, right};
  uint8_t kept = 0;
  std::array<SackBlock, 4> others;
  for (uint8_t i = 0; i < count_; ++i) {
    const SackBlock& b = blocks_[i];
    if (b.left <= merged.right && merged.left <= b.right) {
      if (b.left < merged.left) merged.left = b.left;
      if (b.right > merged.right) merged.right = b.right;
    } else {
      others[kept++] = b;
    }
  }
  if (kept == blocks_.size()) --kept;  // the oldest makes room; the peer was told of it before
  blocks_[0] = merged;
  for (uint8_t i = 0; i < kept; ++i) blocks_[i + 1] = others[i];
  count_ = static_cast<uint8_t>(kept + 1);
}

void SackBlocks::add_duplicate(SeqNum left, SeqNum right) {
  duplicate_block_ = {left, right};
  duplicate_ = true;
}

void SackBlocks::advance(SeqNum rcv_nxt) {
  uint8_t kept = 0;
  for (uint8_t i = 0; i < count_; ++i) {
    SackBlock b = blocks_[i];
    if (b.right <= rcv_nxt) continue;
    if (b.left < rcv_nxt) b.left = rcv_nxt;
    blocks_[kept++] = b;
  }
  count_ = kept;
}

void SackBlocks::emit(Options& options, uint8_t room) {
  if (room > options.sacks.size()) room = static_cast<uint8_t>(options.sacks.size());
  uint8_t n = 0;
  if (duplicate_ && n < room) options.sacks[n++] = duplicate_block_;
  duplicate_ = false;
  for (uint8_t i = 0; i < count_ && n < room; ++i) options.sacks[n++] = blocks_[i];
  options.sack_count = n;
}

}  // namespace ferry::tcp

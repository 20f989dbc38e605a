// Which SACK blocks our acknowledgements carry (RFC 2018 section 4, RFC 2883 section 4).
//
// Owns: the four most recently changed blocks of the out-of-order queue, and a duplicate to report once. Does not own: the queue,
// the scoreboard of the other direction (sent_log.h).
#pragma once

#include <array>
#include <cstdint>

#include "tcp/segment.h"

namespace ferry::tcp {

class SackBlocks {
 public:
  // [left, right) was queued out of order: its block becomes the first.
  void add(SeqNum left, SeqNum right);
  // [left, right) had been received before: reported first, once (D-SACK).
  void add_duplicate(SeqNum left, SeqNum right);
  // Everything before `rcv_nxt` is acknowledged now.
  void advance(SeqNum rcv_nxt);
  bool empty() const { return count_ == 0 && !duplicate_; }
  bool reports_duplicate() const { return duplicate_; }
  // Writes up to `room` blocks into `options` and forgets the duplicate.
  void emit(Options& options, uint8_t room);
  void clear() { count_ = 0, duplicate_ = false; }

 private:
  std::array<SackBlock, 4> blocks_{};
  SackBlock duplicate_block_;
  uint8_t count_ = 0;
  bool duplicate_ = false;
};

}  // namespace ferry::tcp

// What is in flight: one run per segment sent (a super-segment counts as one), in sequence order, with when it was sent and what
// became of it. This is the scoreboard of RFC 6675 section 3 and the per-segment state of RFC 8985 section 5.2 in one.
//
// Owns: the runs and the sums over them. Does not own: what counts as lost (recovery.cc), the bytes (send_queue).
// Runs cover sequence space, a FIN included. They are split where a SACK block or a retransmission ends.
#pragma once

#include <cstdint>

#include "base/time.h"
#include "tcp/run_array.h"
#include "tcp/segment.h"

namespace ferry::tcp {

struct SentRun {
  SeqNum start, end;        // [start, end)
  Instant sent;             // last transmission
  uint32_t delivered = 0;   // the connection's count of delivered bytes then (modulo 2^32), for the delivery rate
  bool sacked = false;
  bool lost = false;        // deemed lost and not sent again since
  bool retransmitted = false;

  uint32_t length() const { return static_cast<uint32_t>(end - start); }
};
static_assert(sizeof(SentRun) == 24);

// What an acknowledgement or a SACK block took off the network.
struct Delivered {
  uint32_t bytes = 0;              // not known to be delivered before
  Instant newest;                  // latest transmission among them...
  SeqNum newest_end;               // ...and its end
  bool newest_retransmitted = false;
  uint32_t newest_delivered = 0;
  Instant rtt_from = Instant::never();  // earliest transmission among those sent once only: for RTT samples (Karn)
  bool any = false;
  bool filled_hole = false;        // a run below `highest_sacked` that had been sent only once: reordering (RFC 8985 6.2 step 3)
};

class SentLog {
 public:
  static constexpr uint32_t kMaxRuns = 8192;

  bool empty() const { return runs_.empty(); }
  uint32_t size() const { return runs_.size(); }
  SentRun& run(uint32_t i) { return runs_[i]; }
  const SentRun& run(uint32_t i) const { return runs_[i]; }
  uint32_t sacked_bytes() const { return sacked_bytes_; }
  uint32_t lost_bytes() const { return lost_bytes_; }
  // End of the highest SACKed run; meaningful while sacked_bytes() > 0.
  SeqNum highest_sacked() const { return highest_sacked_; }

  // Makes sure that the next append() works.
  [[nodiscard]] bool reserve() { return runs_.reserve_one(); }
  void append(SeqNum start, SeqNum end, Instant now, uint32_t delivered);
  // Everything before `una` is acknowledged.
  void acknowledge(SeqNum una, Delivered& out);
  // [left, right) was received by the peer. Splits runs; without memory for that, the partial runs stay unmarked.
  void sack(SeqNum left, SeqNum right, Delivered& out);
  // Marks run i lost (not SACKed, not lost already).
  void mark_lost(uint32_t i);
  // Run i was sent again now.
  void mark_sent_again(uint32_t i, Instant now, uint32_t delivered);
  // Cuts run i after `length` bytes. False without memory.
  [[nodiscard]] bool split(uint32_t i, uint32_t length);
  // Index of the first lost run, or size().
  uint32_t first_lost();
  void mark_all_lost();
  void forget_losses();
  // The peer went back on its SACKs (RFC 2018 section 8).
  void forget_sacks();
  void clear();

 private:
  uint32_t find(SeqNum at) const;
  void count(const SentRun& run, Delivered& out);

  RunArray<SentRun, 2, kMaxRuns> runs_;
  uint32_t sacked_bytes_ = 0;
  uint32_t lost_bytes_ = 0;
  SeqNum highest_sacked_;
  uint32_t lost_hint_ = 0;   // no lost run before this index
};

}  // namespace ferry::tcp

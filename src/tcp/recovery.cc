// Which runs are lost, and when a recovery episode begins and ends.
//
// With SACK: by time, as RACK does (RFC 8985 section 6.2: a run is lost when something sent sufficiently later was delivered), with
// the three-segments rule of RFC 6675 while no reordering has been seen. Without SACK: NewReno (RFC 6582), duplicate ACKs standing
// for segments that left the network; limited transmit (RFC 3042) follows from that count. False alarms are undone on D-SACK
// (RFC 3708) or timestamps (RFC 4015). Owns no window (cc/) and sends nothing (output.cc).
#include "tcp/connection.h"
#include "tcp/limits.h"

namespace ferry::tcp {

// Bytes in the network, as far as we know (RFC 6675 section 4, "pipe").
uint32_t Connection::pipe() const {
  uint32_t gone = log_.sacked_bytes() + log_.lost_bytes() + reno_sacked_;
  uint32_t all = in_flight();
  return all > gone ? all - gone : 0;
}

void Connection::note_delivered(const Delivered& d) {
  if (d.filled_hole) {
    reordering_seen_ = true;
    ++reordering_count_;
  }
  Duration rtt = now_ - d.newest;
  // A retransmission acknowledged faster than light was not what was acknowledged (RFC 8985 6.2 step 2).
  if (d.newest_retransmitted && rtt < rtt_.minimum()) return;
  if (d.newest < rack_sent_ || (d.newest == rack_sent_ && d.newest_end <= rack_end_)) return;
  rack_sent_ = d.newest;
  rack_end_ = d.newest_end;
  rack_rtt_ = rtt;
}

// After every acknowledgement that is not older than the last.
void Connection::recover(bool advanced, uint32_t delivered) {
  bool recovering = recovery_ == Recovery::recovery || recovery_ == Recovery::loss;
  if (advanced && recovering) {
    if (snd_una_ >= recover_) {
      leave_recovery();
      recovering = false;
    } else if (!sack_enabled_) {  // RFC 6582 section 3.2 step 3: a partial acknowledgement
      reno_sacked_ -= delivered < reno_sacked_ ? delivered : reno_sacked_;
      mark_head_lost();
    }
  } else if (advanced && !sack_enabled_) {
    duplicate_acks_ = 0;
    reno_sacked_ = 0;
  }
  if (sack_enabled_) {
    // A peer that acknowledges up to something it had SACKed, but not that, went back on its word (RFC 2018 section 8).
    if (advanced && !log_.empty() && log_.run(0).sacked) log_.forget_sacks();
    if (log_.sacked_bytes() > 0 || recovering) detect_losses();
    else disarm(kReordering);
  }
  if (log_.lost_bytes() > 0 && !recovering) {
    enter_recovery(cc::LossKind::detected);
    recovering = true;
  }
  if (!recovering) {
    recovery_ = log_.sacked_bytes() > 0 || reno_sacked_ > 0 ? Recovery::disorder : Recovery::open;
  }
  if (delivered > 0 && recovery_ != Recovery::recovery) {
    cc::AckSample sample;
    sample.now = now_;
    sample.acked = delivered;
    sample.una = snd_una_;
    sample.nxt = snd_nxt_;
    sample.rtt = recovering ? Duration::zero() : rtt_.latest();
    sample.srtt = rtt_.smoothed();
    sample.window_limited = window_limited_ || (cc_.in_slow_start() && uint64_t{in_flight() + delivered} * 2 > cc_.cwnd());
    cc_.on_ack(sample);
  }
}

// RFC 8985 section 6.2 step 4.
Duration Connection::reordering_window() const {
  if (!reordering_seen_) {
    bool recovering = recovery_ == Recovery::recovery || recovery_ == Recovery::loss;
    if (recovering || log_.sacked_bytes() >= uint32_t{kDuplicateThreshold} * mss_) return Duration::zero();
  }
  Duration window = rtt_.minimum() * reo_wnd_mult_ / 4;
  return window < rtt_.smoothed() ? window : rtt_.smoothed();
}

// RFC 8985 section 6.2 step 5.
void Connection::detect_losses() {
  Duration window = reordering_window();
  Instant latest = Instant::never();  // when the last of the doubtful runs is to be given up
  for (uint32_t i = 0; i < log_.size(); ++i) {
    const SentRun& run = log_.run(i);
    if (run.sent > rack_sent_ && !run.retransmitted && run.start >= log_.highest_sacked()) break;  // all later ones too
    if (run.sacked || run.lost) continue;
    if (run.sent > rack_sent_ || (run.sent == rack_sent_ && run.end >= rack_end_)) continue;
    Instant deadline = run.sent + rack_rtt_ + window;
    if (deadline <= now_) log_.mark_lost(i);
    else if (latest.is_never() || deadline > latest) latest = deadline;
  }
  arm(kReordering, latest);
}

// RFC 5681 section 3.2, for a peer without SACK.
void Connection::on_duplicate_ack() {
  if (duplicate_acks_ < UINT16_MAX) ++duplicate_acks_;
  uint32_t room = in_flight() - reno_sacked_;
  if (room > mss_) reno_sacked_ += mss_;  // at least the first segment has not arrived
  if (recovery_ != Recovery::open && recovery_ != Recovery::disorder) return;
  // RFC 6582 section 3.2 step 1: not again for what the last episode has resent.
  if (duplicate_acks_ == kDuplicateThreshold && snd_una_ > recover_) mark_head_lost();
}

void Connection::mark_head_lost() {
  if (log_.empty()) return;
  if (log_.run(0).length() > mss_) (void)log_.split(0, mss_);  // without memory: all of it
  log_.mark_lost(0);
}

void Connection::enter_recovery(cc::LossKind kind) {
  bool timeout = kind == cc::LossKind::timeout;
  cc::LossEvent event;
  event.now = now_;
  event.kind = kind;
  event.in_flight = in_flight() < cc_.cwnd() ? in_flight() : cc_.cwnd();
  bool again = recovery_ == Recovery::loss;
  recovery_ = timeout ? Recovery::loss : Recovery::recovery;
  recover_ = snd_nxt_;
  must_resend_ = true;
  disarm(kTailLoss);
  if (timeout && again) {  // RFC 5681 section 3.1: a repeated timeout leaves ssthresh alone
    cc_.restart_small();
    return;
  }
  cc_.on_loss(event);
  undo_una_ = snd_una_;
  undo_bytes_ = 0;
  undo_ts_ = 0;
  undo_possible_ = false;  // until something has been resent
  if (reo_wnd_persist_ > 0 && --reo_wnd_persist_ == 0) reo_wnd_mult_ = 1;
}

void Connection::leave_recovery() {
  recovery_ = Recovery::open;
  duplicate_acks_ = 0;
  reno_sacked_ = 0;
  must_resend_ = false;
}

// The peer got something twice.
void Connection::note_duplicate_report(const SackBlock& block) {
  ++duplicate_reports_;
  // RFC 8985 section 6.2 step 4: wait longer from now on, once a round trip, for sixteen episodes.
  if (snd_una_ >= dsack_round_) {
    dsack_round_ = snd_nxt_;
    if (reo_wnd_mult_ < 64) ++reo_wnd_mult_;
    reo_wnd_persist_ = 16;
  }
  if (!undo_possible_ || block.left < undo_una_) return;
  uint32_t n = static_cast<uint32_t>(block.right - block.left);
  undo_bytes_ -= n < undo_bytes_ ? n : undo_bytes_;
  if (undo_bytes_ == 0) undo_recovery();
}

// Nothing was lost, it only came late: the window goes back, what is still marked lost is in flight.
void Connection::undo_recovery() {
  undo_possible_ = false;
  reordering_seen_ = true;
  cc_.undo();
  log_.forget_losses();
  leave_recovery();
}

}  // namespace ferry::tcp

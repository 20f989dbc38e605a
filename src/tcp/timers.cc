// What happens when a deadline passes, and when deadlines are set (RFC 6298 section 5, RFC 9293 sections 3.8.3, 3.8.4, 3.8.6.1,
// RFC 8985 section 7).
#include "tcp/connection.h"
#include "tcp/limits.h"

namespace ferry::tcp {

void Connection::on_timer(Instant now) {
  now_ = now;
  auto due = [&](Timer t) {
    if (timers_[t] > now) return false;
    disarm(t);
    return state_ != State::closed;
  };
  if (due(kLinger)) enter_closed();
  if (due(kDelayedAck)) {
    if (!owes_ack()) interactive_ = false;  // no answer came that could have carried it
    ack_now_ = true;
    output();
  }
  if (due(kReordering)) {
    recover(false, 0);
    output();
  }
  if (due(kTailLoss)) on_tail_loss_timeout();
  if (due(kRetransmit)) on_retransmit_timeout();
  if (due(kPersist)) on_persist_timeout();
  if (due(kKeepAlive)) on_keep_alive();
  announced_ = next_deadline();  // the host reads it again after this call
  finish();
}

// RFC 5482, or by count (R2 of RFC 9293 section 3.8.3).
bool Connection::given_up() const {
  if (state_ == State::syn_sent) return retransmits_ >= options_.syn_count;
  if (state_ == State::syn_received) return retransmits_ >= kMaxSynAckRetransmits;
  if (options_.user_timeout_ms != 0 && !stalled_since_.is_never()) {
    return now_ - stalled_since_ >= Duration::ms(options_.user_timeout_ms);
  }
  return retransmits_ >= (owner_gone_ ? kMaxOrphanRetransmits : kMaxRetransmits);
}

void Connection::on_retransmit_timeout() {
  if (in_flight() == 0) return;
  if (stalled_since_.is_never()) stalled_since_ = log_.empty() ? last_data_sent_ : log_.run(0).sent;
  if (given_up()) {
    fail(soft_error_ != Errc::ok ? soft_error_ : Errc::timed_out);
    return;
  }
  ++retransmits_;
  if (backoff_ < 32) ++backoff_;
  if (!synchronised()) {
    ++retransmissions_;
    send_syn();
  } else {
    if (log_.run(0).sacked) log_.forget_sacks();
    log_.mark_all_lost();
    duplicate_acks_ = 0;
    reno_sacked_ = 0;
    tail_probe_out_ = false;
    disarm(kReordering);
    enter_recovery(cc::LossKind::timeout);
    output();
  }
  if (state_ != State::closed) arm(kRetransmit, now_ + rtt_.timeout(backoff_));
}

// Nothing is in flight and the peer's window takes nothing, or a small segment was held back long enough.
void Connection::on_persist_timeout() {
  if (unsent() == 0 && !(fin_queued_ && !fin_sent_)) return;
  if (send_room() > 0) {
    persist_override_ = true;
    output();
    persist_override_ = false;
    return;
  }
  if (in_flight() > 0) return;
  if (stalled_since_.is_never()) stalled_since_ = now_;
  bool too_long = options_.user_timeout_ms != 0 && now_ - stalled_since_ >= Duration::ms(options_.user_timeout_ms);
  // A peer that answers every probe could keep what nobody owns for ever (RFC 6429 section 3); Linux gives it as long.
  too_long |= owner_gone_ && backoff_ >= kMaxOrphanRetransmits && rtt_.timeout(backoff_) >= RttEstimator::kMaxTimeout;
  if (too_long || probes_ >= (owner_gone_ ? kMaxOrphanRetransmits : kMaxRetransmits)) {
    send_reset();
    fail(Errc::timed_out);
    return;
  }
  ++probes_;
  if (backoff_ < 32) ++backoff_;
  send_probe();
  arm(kPersist, now_ + rtt_.timeout(backoff_));
}

// RFC 8985 section 7.3: the last segment once more, or the next one, so that its acknowledgement shows what is missing.
void Connection::on_tail_loss_timeout() {
  if (in_flight() == 0 || recovery_ != Recovery::open || log_.empty()) return;
  tail_probe_out_ = true;
  uint32_t unsent_now = unsent();
  uint32_t room = send_room();
  if (unsent_now > 0 && room >= mss_) {
    (void)send_range(snd_nxt_, unsent_now < mss_ ? unsent_now : mss_, false);
  } else {
    uint32_t last = log_.size() - 1;
    uint32_t length = log_.run(last).length();
    if (length > mss_ && log_.split(last, length - mss_)) ++last;
    uint32_t limit = log_.run(last).length() < burst_ ? log_.run(last).length() : burst_;
    (void)resend_run(last, limit);
    undo_possible_ = false;  // no window was reduced for it
    undo_bytes_ = 0;
  }
  arm(kRetransmit, now_ + rtt_.timeout(backoff_));
}

void Connection::on_keep_alive() {
  if (!options_.keep_alive || !synchronised() || state_ == State::time_wait) return;
  Duration idle = now_ - last_received_;
  Duration limit = Duration::seconds(options_.keep_idle_s);
  if (idle < limit && probes_ == 0) return arm(kKeepAlive, last_received_ + limit);
  if (in_flight() > 0 || unsent() > 0) return arm(kKeepAlive, now_ + limit);  // the other timers watch the peer
  bool too_long = options_.user_timeout_ms != 0 ? probes_ > 0 && idle >= Duration::ms(options_.user_timeout_ms)
                                                : probes_ >= options_.keep_count;
  if (too_long) {
    send_reset();
    fail(soft_error_ != Errc::ok ? soft_error_ : Errc::timed_out);
    return;
  }
  ++probes_;
  send_probe();
  arm(kKeepAlive, now_ + Duration::seconds(options_.keep_interval_s));
}

void Connection::arm_keep_alive() {
  if (options_.keep_alive && synchronised() && state_ != State::time_wait) {
    arm(kKeepAlive, last_received_ + Duration::seconds(options_.keep_idle_s));
  } else {
    disarm(kKeepAlive);
  }
}

// RFC 6298 (5.2), (5.3): after an acknowledgement of new data, and when the oldest run is sent again.
void Connection::restart_retransmit_timer() {
  if (in_flight() == 0) {
    disarm(kRetransmit);
    disarm(kTailLoss);
    disarm(kReordering);
  } else {
    arm(kRetransmit, now_ + rtt_.timeout(backoff_));
    disarm(kTailLoss);
  }
}

void Connection::arm_after_output() {
  if (in_flight() > 0) {
    if (!armed(kRetransmit)) arm(kRetransmit, now_ + rtt_.timeout(backoff_));  // (5.1)
    bool probe = sack_enabled_ && recovery_ == Recovery::open && !tail_probe_out_ && rtt_.has_sample() && backoff_ == 0;
    if (!probe) {
      disarm(kTailLoss);
    } else if (!armed(kTailLoss)) {
      Duration wait = rtt_.smoothed() * 2 + Duration::ms(2);
      if (in_flight() <= 2u * mss_) wait += kDelayedAckTime * 2;  // the peer may be waiting for a second segment
      Instant at = now_ + wait;
      if (at < timers_[kRetransmit]) arm(kTailLoss, at);
    }
  }
  bool waiting = unsent() > 0 || (fin_queued_ && !fin_sent_);
  if (!waiting) {
    disarm(kPersist);
    return;
  }
  bool held = (options_.cork || more_) && send_room() > 0;
  if (held) {
    if (!armed(kPersist)) arm(kPersist, now_ + kCorkLimit);
  } else if (in_flight() > 0) {
    disarm(kPersist);
  } else if (!armed(kPersist)) {
    arm(kPersist, now_ + rtt_.timeout(backoff_));
  }
}

}  // namespace ferry::tcp

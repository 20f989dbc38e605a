// A segment's way through the connection: the order of RFC 9293 section 3.10.7.4, with PAWS (RFC 7323 section 5.3) before it and
// the stricter rules of RFC 5961 for RST and SYN. Acknowledgements: input_ack.cc; text and FIN: input_data.cc.
#include "tcp/connection.h"
#include "tcp/limits.h"

namespace ferry::tcp {

void Connection::on_segment(Instant now, const InputSegment& segment) {
  now_ = now;
  ++segments_in_;
  if (!fast_path(segment)) process(segment);
  finish();
}

// What bulk transfer consists of: the next data, or an acknowledgement of ours, and nothing unusual about it.
bool Connection::fast_path(const InputSegment& s) {
  if (state_ != State::established || (s.flags & ~kPsh) != kAck || s.seq != rcv_nxt_) return false;
  if (recovery_ != Recovery::open || s.options.sack_count != 0 || !reassembly_.empty()) return false;
  if (s.ack < snd_una_ || s.ack > snd_nxt_) return false;
  if (ts_enabled_) {
    if (!s.options.has_timestamps || static_cast<int32_t>(s.options.ts_value - ts_recent_) < 0) return false;
    ts_recent_ = s.options.ts_value;  // s.seq == rcv_nxt_, which is what was last acknowledged or later
    ts_recent_at_ = now_;
  }
  if (s.payload.empty()) {
    if (s.ack == snd_una_) return false;  // duplicate or window update
  } else if (s.payload.size() > receive_window() || owner_gone_ || read_shut_ || urgent_in_ || peer_fin_known_) {
    return false;
  }
  last_received_ = now_;
  probes_ = 0;
  if (s.ack != snd_una_) acknowledge(s);
  else update_send_window(s);
  if (!s.payload.empty()) {
    note_data();
    measure_receive_rtt(s);
    if (take_in_order(s.payload)) schedule_ack(s);
  }
  output();
  return true;
}

void Connection::process(const InputSegment& s) {
  if (state_ == State::closed) return;
  if (state_ == State::syn_sent) return on_syn_sent(s);
  if (state_ == State::time_wait) return on_time_wait(s);

  uint32_t length = static_cast<uint32_t>(s.payload.size()) + ((s.flags & kSyn) != 0) + ((s.flags & kFin) != 0);
  // A SYN again: our SYN+ACK was lost.
  if (state_ == State::syn_received && (s.flags & (kSyn | kAck | kRst)) == kSyn && s.seq == irs_) return send_syn();
  if (check_sequence(s, length) == Verdict::done) return;
  if ((s.flags & kRst) != 0) return check_reset(s);
  if ((s.flags & kSyn) != 0) return challenge();  // RFC 5961 section 4
  if ((s.flags & kAck) == 0) return;
  last_received_ = now_;
  probes_ = 0;
  note_timestamp(s);
  if (on_ack(s) == Verdict::done) return;
  if (state_ == State::time_wait) {  // our FIN was acknowledged in CLOSING; the rest is for TIME_WAIT's rules
    if (length > 0) on_time_wait(s);
    return;
  }
  note_urgent(s);
  on_data(s);
  if (state_ != State::closed) output();
}

void Connection::on_time_wait(const InputSegment& s) {
  TimeWait wait = time_wait();
  OutputSegment answer;
  TimeWait::Verdict verdict = wait.on_segment(now_, s, answer);
  last_challenge_ = wait.last_answer;
  arm(kLinger, wait.expires);
  if (verdict == TimeWait::Verdict::answer) emit(answer);
  if (verdict == TimeWait::Verdict::closed) enter_closed();
}

bool Connection::timestamp_too_old(const InputSegment& s) const {
  return static_cast<int32_t>(s.options.ts_value - ts_recent_) < 0 && now_ - ts_recent_at_ <= kTimestampsOutdated;
}

// RFC 7323 section 4.3 (2): only a segment that covers what we last acknowledged sets what we echo.
void Connection::note_timestamp(const InputSegment& s) {
  if (!ts_enabled_ || !s.options.has_timestamps || s.seq > last_ack_sent_) return;
  if (timestamp_too_old(s)) return;
  ts_recent_ = s.options.ts_value;
  ts_recent_at_ = now_;
}

// First: is it inside the window, and not from the past?
Connection::Verdict Connection::check_sequence(const InputSegment& s, uint32_t length) {
  bool reset = (s.flags & kRst) != 0;
  SeqNum end = s.seq + length;
  bool old = false;
  if (ts_enabled_ && !reset) {
    if (!s.options.has_timestamps) return Verdict::done;  // RFC 7323 section 3.2
    old = timestamp_too_old(s);
  }
  // As Linux, measured from what was last acknowledged, so that an older but still useful acknowledgement is not lost.
  bool inside = end >= last_ack_sent_ && s.seq <= rcv_nxt_ + receive_window();
  if (inside && !old) return Verdict::proceed;
  if (reset) return Verdict::done;
  if (s.payload.empty()) {
    challenge();
    return Verdict::done;
  }
  if (sack_enabled_ && end <= rcv_nxt_ && !old) sack_.add_duplicate(s.seq, end);
  send_ack();  // data again: the peer has missed our acknowledgement
  return Verdict::done;
}

// Second: RFC 5961 section 3. Only the exact sequence number resets; anything else in the window is asked to prove itself.
void Connection::check_reset(const InputSegment& s) {
  if (s.seq != rcv_nxt_) challenge();
  else if (state_ == State::syn_received) fail(passive_ ? Errc::reset : Errc::refused);
  else if (state_ == State::close_wait) fail(Errc::broken_pipe);
  else fail(Errc::reset);
}

// An ACK that a genuine peer can act on and that tells an attacker nothing new; seldom (RFC 5961 section 7).
void Connection::challenge() {
  if (now_ - last_challenge_ < kChallengeInterval) return;
  last_challenge_ = now_;
  send_ack();
}

}  // namespace ferry::tcp

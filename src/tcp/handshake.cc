// Opening: SYN, SYN+ACK and what their options settle (RFC 9293 sections 3.5, 3.10.1, 3.10.7.2, 3.10.7.3; RFC 7323 sections 2
// and 3; RFC 2018 section 2).
#include "tcp/connection.h"
#include "tcp/limits.h"

namespace ferry::tcp {

void Connection::open_active(Instant now) {
  now_ = now;
  set_state(State::syn_sent);
  snd_nxt_ = iss_ + 1;
  send_syn();
  arm(kRetransmit, now + rtt_.timeout(0));
  finish();
}

void Connection::open_passive(Instant now, const InputSegment& syn) {
  now_ = now;
  ++segments_in_;
  passive_ = true;
  last_received_ = now;
  irs_ = syn.seq;
  rcv_nxt_ = syn.seq + 1;
  take_syn_options(syn);
  set_state(State::syn_received);
  snd_nxt_ = iss_ + 1;
  snd_wnd_ = max_snd_wnd_ = syn.window;
  snd_wl1_ = syn.seq;
  send_syn();
  arm(kRetransmit, now + rtt_.timeout(0));
  finish();
}

void Connection::take_syn_options(const InputSegment& segment) {
  const Options& o = segment.options;
  peer_mss_ = o.mss == 0 ? kDefaultMss : (o.mss < kMinMss ? kMinMss : o.mss);
  sack_enabled_ = o.sack_permitted;
  ts_enabled_ = o.has_timestamps;
  if (ts_enabled_) {
    ts_recent_ = o.ts_value;
    ts_recent_at_ = now_;
  }
  scaling_ = o.window_scale >= 0;
  if (scaling_) {
    snd_wscale_ = o.window_scale > 14 ? 14 : static_cast<uint8_t>(o.window_scale);
    rcv_wscale_ = kReceiveScale;
  }
  update_mss();
  cc_.start(options_.congestion, mss_);
}

void Connection::update_mss() {
  uint32_t mss = peer_mss_ < link_mss_ ? peer_mss_ : link_mss_;
  if (options_.max_segment != 0 && options_.max_segment < mss) mss = options_.max_segment;
  if (ts_enabled_) mss -= kTimestampOptionBytes;
  mss_ = static_cast<uint16_t>(mss);
  uint32_t most = max_gso_ < kMaxBurst ? max_gso_ : kMaxBurst;
  burst_ = most > mss ? most - most % mss : mss;
}

// The SYN, or in SYN_RECEIVED the SYN+ACK. Offers everything in a SYN; in an answer only what the peer offered.
void Connection::send_syn() {
  bool answer = state_ == State::syn_received;
  OutputSegment s;
  s.seq = iss_;
  s.flags = answer ? kSyn | kAck : kSyn;
  if (answer) s.ack = rcv_nxt_;
  s.window = select_window(true);
  s.mss = mss_;
  s.options.mss = options_.max_segment != 0 && options_.max_segment < link_mss_ ? options_.max_segment : link_mss_;
  s.options.sack_permitted = !answer || sack_enabled_;
  if (!answer || scaling_) s.options.window_scale = kReceiveScale;
  if (!answer || ts_enabled_) {
    s.options.has_timestamps = true;
    s.options.ts_value = timestamp_value(now_, ts_offset_);
    s.options.ts_echo = answer ? ts_recent_ : 0;
  }
  last_data_sent_ = now_;
  last_ack_sent_ = rcv_nxt_;
  emit(s);
}

// RFC 9293 section 3.10.7.3.
void Connection::on_syn_sent(const InputSegment& s) {
  bool has_ack = (s.flags & kAck) != 0;
  if (has_ack && (s.ack <= iss_ || s.ack > snd_nxt_)) {
    if ((s.flags & kRst) == 0) send_stray_reset(s.ack);
    return;
  }
  if ((s.flags & kRst) != 0) {
    if (has_ack) fail(Errc::refused);
    return;
  }
  if ((s.flags & kSyn) == 0) return;
  last_received_ = now_;
  irs_ = s.seq;
  rcv_nxt_ = s.seq + 1;
  take_syn_options(s);
  snd_wnd_ = max_snd_wnd_ = s.window;  // never scaled in a SYN
  snd_wl1_ = s.seq;
  if (!has_ack) {  // simultaneous open
    set_state(State::syn_received);
    retransmits_ = backoff_ = 0;
    send_syn();
    arm(kRetransmit, now_ + rtt_.timeout(0));
    return;
  }
  snd_wl2_ = s.ack;
  // What we said in our SYN, in bytes.
  rcv_adv_ = rcv_nxt_ + last_window_field_;
  become_established();
  ack_now_ = true;
  if (!s.payload.empty() || (s.flags & kFin) != 0) {  // RFC 9293: "continue processing at the sixth step"
    InputSegment rest = s;
    rest.seq = s.seq + 1;
    rest.flags = static_cast<uint8_t>(s.flags & ~kSyn);
    on_data(rest);
    if (state_ == State::closed) return;
  }
  output();
}

// Our SYN is acknowledged.
void Connection::become_established() {
  snd_una_ = iss_ + 1;
  if (retransmits_ == 0) rtt_.sample(now_, now_ - last_data_sent_);
  else rtt_.set_initial(kInitialTimeoutAfterSynLoss);
  if (retransmits_ > 1) cc_.restart_small();
  retransmits_ = backoff_ = 0;
  stalled_since_ = Instant::never();
  disarm(kRetransmit);
  recover_ = iss_;
  undo_una_ = dsack_round_ = snd_small_ = rack_end_ = snd_una_;
  if (!urgent_out_) snd_up_ = snd_una_;
  quick_acks_ = kQuickAcks;
  last_ack_sent_ = rcv_nxt_;
  drain_since_ = delivered_at_ = last_data_sent_ = last_data_received_ = last_ack_received_ = now_;
  set_state(State::established);
  raise(Event::established);
  if (fin_queued_) set_state(State::fin_wait_1);  // shut down before the handshake was over
  arm_keep_alive();
}

}  // namespace ferry::tcp

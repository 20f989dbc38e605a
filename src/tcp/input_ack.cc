// Fifth step of RFC 9293 section 3.10.7.4: the ACK field. What it acknowledges leaves the queue, what it says of the window and of
// holes is taken in; which runs are lost is recovery.cc's decision.
#include "tcp/connection.h"
#include "tcp/limits.h"

namespace ferry::tcp {

Connection::Verdict Connection::on_ack(const InputSegment& s) {
  if (state_ == State::syn_received) {
    if (s.ack <= snd_una_ || s.ack > snd_nxt_) {
      send_stray_reset(s.ack);
      return Verdict::done;
    }
    become_established();
    snd_wnd_ = uint32_t{s.window} << snd_wscale_;
    if (snd_wnd_ > max_snd_wnd_) max_snd_wnd_ = snd_wnd_;
    snd_wl1_ = s.seq;
    snd_wl2_ = s.ack;
  }
  if (s.ack > snd_nxt_ || s.ack < snd_una_ - max_snd_wnd_) {  // RFC 5961 section 5.2
    challenge();
    return Verdict::done;
  }
  last_ack_received_ = now_;
  if (s.ack < snd_una_) return Verdict::proceed;  // overtaken by a later one
  acknowledge(s);
  return state_ == State::closed ? Verdict::done : Verdict::proceed;
}

// snd_una <= s.ack <= snd_nxt.
void Connection::acknowledge(const InputSegment& s) {
  bool advanced = s.ack > snd_una_;
  bool was_outstanding = in_flight() > 0;
  bool window_changed = update_send_window(s);
  if (window_changed && !was_outstanding && snd_wnd_ > 0) {  // zero-window probing is over
    backoff_ = 0;
    stalled_since_ = Instant::never();
    disarm(kPersist);
  }
  Delivered d;
  if (advanced) {
    log_.acknowledge(s.ack, d);
    retransmits_ = backoff_ = 0;
    stalled_since_ = Instant::never();
    tail_probe_out_ = false;
    complete(s.ack);
  }
  if (sack_enabled_ && s.options.sack_count > 0) take_sack_blocks(s, d);
  if (d.any) {
    delivered_ += d.bytes;
    delivered_at_ = now_;
    sample_rtt(s, d, advanced);
    note_delivered(d);
  }
  if (!sack_enabled_ && !advanced && was_outstanding && !window_changed && s.payload.empty() && (s.flags & kFin) == 0) {
    on_duplicate_ack();
  }
  recover(advanced, d.bytes);

  if (advanced) {
    if (d.bytes > 0 || recovery_ == Recovery::open) tune_send_buffer();
    restart_retransmit_timer();
    if (fin_sent_ && snd_una_ == snd_nxt_) after_fin_acknowledged();
  }
}

// The peer has everything before `una`: the owner may use that memory again.
void Connection::complete(SeqNum una) {
  uint32_t n = static_cast<uint32_t>(una - snd_una_);
  snd_una_ = una;
  if (n > queue_.bytes()) n = queue_.bytes();  // the FIN
  if (urgent_out_ && snd_up_ <= una) urgent_out_ = false;
  if (n == 0) return;
  bool was_short = send_refused_ || send_space() < snd_buf_ / 3;
  queue_.drop(n);
  bytes_acked_ += n;
  host_.on_completed(*this, n);
  if (!was_short) return;
  // Remembered: the buffer may grow between this acknowledgement and the next, and then it would no longer look short.
  send_refused_ = send_space() < snd_buf_ / 3;
  if (!send_refused_) raise(Event::writable);
}

// RFC 9293 section 3.10.7.4: only a segment that is not older than the last one used changes the window.
bool Connection::update_send_window(const InputSegment& s) {
  if (!(snd_wl1_ < s.seq || (snd_wl1_ == s.seq && snd_wl2_ <= s.ack))) return false;
  uint32_t window = uint32_t{s.window} << snd_wscale_;
  bool changed = window != snd_wnd_;
  snd_wnd_ = window;
  if (window > max_snd_wnd_) max_snd_wnd_ = window;
  snd_wl1_ = s.seq;
  snd_wl2_ = s.ack;
  return changed;
}

// RFC 2018 section 3, RFC 2883 section 4. Blocks outside of what is in flight are nobody's business.
void Connection::take_sack_blocks(const InputSegment& s, Delivered& d) {
  std::array<SackBlock, 4> blocks;
  uint8_t count = 0;
  for (uint8_t i = 0; i < s.options.sack_count && i < blocks.size(); ++i) {
    const SackBlock& b = s.options.sacks[i];
    if (b.left >= b.right) continue;
    if (i == 0) {
      bool below = b.right <= s.ack;
      bool inside = s.options.sack_count > 1 && b.left >= s.options.sacks[1].left && b.right <= s.options.sacks[1].right;
      if (below || inside) {
        note_duplicate_report(b);
        continue;
      }
    }
    if (b.left < snd_una_ || b.right > snd_nxt_) continue;
    // In sequence order, so that a block that is merely reported late does not look like reordering.
    uint8_t at = count++;
    while (at > 0 && b.left < blocks[at - 1].left) {
      blocks[at] = blocks[at - 1];
      --at;
    }
    blocks[at] = b;
  }
  for (uint8_t i = 0; i < count; ++i) log_.sack(blocks[i].left, blocks[i].right, d);
}

// RFC 6298 section 3 (Karn): segments sent once only; with timestamps, anything that advances (RFC 7323 section 4.3).
void Connection::sample_rtt(const InputSegment& s, const Delivered& d, bool advanced) {
  if (!d.rtt_from.is_never()) {
    rtt_.sample(now_, now_ - d.rtt_from);
  } else if (advanced && ts_enabled_ && s.options.has_timestamps && s.options.ts_echo != 0) {
    int32_t ms = static_cast<int32_t>(timestamp_value(now_, ts_offset_) - s.options.ts_echo);
    if (ms > 0 && Duration::ms(ms) < RttEstimator::kMaxTimeout) rtt_.sample(now_, Duration::ms(ms));
  }
  Duration interval = now_ - d.newest;
  if (interval > Duration::zero()) {
    uint64_t bytes = delivered_ - d.newest_delivered;
    delivery_rate_ = bytes * 1'000'000 / static_cast<uint64_t>(interval.count_us() > 0 ? interval.count_us() : 1);
  }
  // Eifel (RFC 4015): the acknowledgement was caused by something older than our first retransmission.
  if (advanced && undo_possible_ && ts_enabled_ && s.options.has_timestamps && s.options.ts_echo != 0 &&
      static_cast<int32_t>(s.options.ts_echo - undo_ts_) < 0) {
    undo_recovery();
  }
}

void Connection::after_fin_acknowledged() {
  switch (state_) {
    case State::fin_wait_1:
      set_state(State::fin_wait_2);
      if (owner_gone_) linger_in_fin_wait_2();
      break;
    case State::closing: enter_time_wait(); break;
    case State::last_ack: enter_closed(); break;
    default: break;
  }
}

// Nobody reads any more; the peer has this long to say FIN (tcp(7), TCP_LINGER2).
void Connection::linger_in_fin_wait_2() {
  if (options_.linger2_s < 0) {
    enter_closed();
    return;
  }
  arm(kLinger, now_ + (options_.linger2_s > 0 ? Duration::seconds(options_.linger2_s) : kFinWait2));
}

}  // namespace ferry::tcp

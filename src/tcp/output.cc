// What is sent now: lost runs first, then new data in super-segments, then an acknowledgement if nothing carried it.
//
// RFC 9293 sections 3.7.4 (Nagle), 3.8.6.2.1 (sender's silly window avoidance); RFC 5681 section 4.1 (restart after idle).
// Owns no decision about what is lost (recovery.cc) or how much may be in flight (cc/).
#include "tcp/connection.h"
#include "tcp/limits.h"

namespace ferry::tcp {

// Everything that may leave at this moment, leaves. Called at the end of every input.
void Connection::output() {
  if (state_ == State::closed) return;
  if (synchronised() && state_ != State::time_wait) {
    // Blocks that tell of holes go alone: data segments have no room for them.
    if (ack_now_ && !sack_.empty()) send_ack();
    if (log_.lost_bytes() > 0) resend_lost();
    if (queue_.bytes() > 0 || fin_queued_) send_new();
    arm_after_output();
  }
  if (ack_now_) send_ack();
}

void Connection::resend_lost() {
  while (log_.lost_bytes() > 0) {
    uint32_t index = log_.first_lost();
    if (index >= log_.size()) return;
    uint32_t used = pipe();
    uint32_t room = cc_.cwnd() > used ? cc_.cwnd() - used : 0;
    if (room < mss_) {
      if (!must_resend_) return;
      room = mss_;
    }
    room -= room % mss_;
    must_resend_ = false;
    if (!resend_run(index, room < burst_ ? room : burst_)) return;
  }
}

// Sends up to `limit` bytes of run `index` again. False: no more for now.
bool Connection::resend_run(uint32_t index, uint32_t limit) {
  SeqNum start = log_.run(index).start;
  uint32_t length = log_.run(index).length();
  if (length > limit) length = limit;
  OutputSegment s;
  fill_header(s, start, kAck);
  uint32_t taken = fill_data(s, start, length);
  // Without memory to split the run, what was sent of it stays marked as lost; its acknowledgement shortens the run.
  bool whole = taken == log_.run(index).length() || log_.split(index, taken);
  if (whole) log_.mark_sent_again(index, now_, delivered_);
  else log_.run(index).retransmitted = true;
  if (undo_bytes_ == 0 && !undo_possible_) undo_ts_ = timestamp_value(now_, ts_offset_);
  undo_possible_ = true;
  undo_bytes_ += taken;
  ++retransmissions_;
  bytes_retransmitted_ += taken;
  emit(s);
  if (recovery_ != Recovery::loss && index == 0) restart_retransmit_timer();
  return whole;
}

void Connection::send_new() {
  window_limited_ = false;
  if (in_flight() == 0 && queue_.bytes() > 0 && bytes_sent_ > 0) {
    Duration idle = now_ - last_data_sent_;
    Duration timeout = rtt_.base_timeout();
    if (idle > timeout) cc_.on_idle(now_, idle, timeout);
  }
  while (!fin_sent_) {
    uint32_t unsent = queue_.bytes() - in_flight();
    if (unsent == 0 && !fin_queued_) return;
    uint32_t length = next_length(unsent);
    uint32_t room = send_room();
    bool fin = fin_queued_ && length == unsent && room > length;
    if (length == 0 && !fin) return;
    if (!send_range(snd_nxt_, length, fin)) return;
    persist_override_ = false;
  }
}

// Bytes that the peer's window still takes.
uint32_t Connection::send_room() const {
  int32_t room = (snd_una_ + snd_wnd_) - snd_nxt_;
  return room > 0 ? static_cast<uint32_t>(room) : 0;
}

// How many of the `unsent` bytes go into the next segment.
uint32_t Connection::next_length(uint32_t unsent) {
  uint32_t room = send_room();
  uint32_t used = pipe();
  uint32_t window = cc_.cwnd() > used ? cc_.cwnd() - used : 0;
  uint32_t limit = room < window ? room : window;
  uint32_t length = unsent < limit ? unsent : limit;
  if (length > burst_) length = burst_;
  if (length < unsent) {  // not the end of the queue: whole segments only
    if (window < unsent && window <= room) window_limited_ = true;
    uint32_t whole = length - length % mss_;
    if (whole == 0) {
      // A peer with a small buffer never opens a whole segment: half of its largest window will do, or a timeout.
      bool worth = room > 0 && room <= window && (room >= max_snd_wnd_ / 2 || persist_override_);
      return worth && length == room ? room : 0;
    }
    // A window that opens in small steps is worth waiting for, while enough is under way to bring the next step.
    bool defer = whole < burst_ && whole < unsent && uint64_t{in_flight()} >= uint64_t{whole} * 2 && in_flight() >= 4u * mss_ &&
                 recovery_ == Recovery::open && whole < cc_.cwnd() / 4;
    return defer ? 0 : whole;
  }
  if (awaits_company(length)) return 0;
  uint32_t tail = length % mss_;
  if (tail != 0 && !may_send_partial()) length -= tail;
  return length;
}

// Whether the last `length` bytes of the queue are better kept until the next acknowledgement: while two full super-segments are
// under way, the program has time to write more, and one large segment costs less than two (as Linux's TCP autocorking).
bool Connection::awaits_company(uint32_t length) const {
  return length < burst_ / 2 && in_flight() / 2 >= burst_ && burst_ >= 8u * mss_ && recovery_ == Recovery::open &&
         !fin_queued_ && !urgent_out_ && !persist_override_;
}

// RFC 9293 section 3.7.4, as modified by Minshall: hold a small segment only while another small one is on its way.
bool Connection::may_send_partial() const {
  if (fin_queued_ || persist_override_ || urgent_out_) return true;
  if (options_.cork || more_) return false;
  return options_.no_delay || snd_small_ <= snd_una_;
}

// `length` bytes from snd_nxt on, and the FIN. False: nothing was sent.
bool Connection::send_range(SeqNum start, uint32_t length, bool fin) {
  if (!log_.reserve()) return false;  // no memory: an acknowledgement or the retransmission timer tries again
  OutputSegment s;
  fill_header(s, start, kAck);
  uint32_t taken = length > 0 ? fill_data(s, start, length) : 0;
  if (taken < length) {
    fin = false;
    if (taken > mss_) {  // out of parts: back to whole segments
      uint32_t over = taken % mss_;
      s.payload_length = s.part_count = 0;
      s.flags = static_cast<uint8_t>(s.flags & ~kPsh);
      taken = fill_data(s, start, taken - over);
    }
  }
  if (fin) s.flags = static_cast<uint8_t>(s.flags | kFin);
  SeqNum end = start + taken + (fin ? 1 : 0);
  log_.append(start, end, now_, delivered_);
  if (taken % mss_ != 0) snd_small_ = end;
  snd_nxt_ = end;
  fin_sent_ = fin_sent_ || fin;
  if (taken > 0) {
    // An answer, which acknowledges what it answers: from now on wait for such (as Linux's "pingpong" mode).
    if (unacknowledged_ > 0 || (bytes_received_ > 0 && now_ - last_data_received_ < kDelayedAckTime)) interactive_ = true;
    ++data_segments_out_;
    bytes_sent_ += taken;
  }
  last_data_sent_ = now_;
  emit(s);
  return true;
}

// Gathers [start, start + length) of the sequence space; a FIN in it becomes the flag. Returns how much of it the segment covers.
uint32_t Connection::fill_data(OutputSegment& s, SeqNum start, uint32_t length) {
  uint32_t offset = static_cast<uint32_t>(start - snd_una_);
  uint32_t data = queue_.bytes() - offset;
  uint32_t wanted = length < data ? length : data;
  uint32_t taken = queue_.gather(offset, wanted, s);
  if (taken == data && taken > 0) s.flags = static_cast<uint8_t>(s.flags | kPsh);
  if (taken == wanted && length > data) {
    s.flags = static_cast<uint8_t>(s.flags | kFin);
    return taken + 1;
  }
  return taken;
}

void Connection::fill_header(OutputSegment& s, SeqNum seq, uint8_t flags) {
  s.seq = seq;
  s.flags = flags;
  s.mss = mss_;
  if ((flags & kAck) != 0) {
    s.ack = rcv_nxt_;
    s.window = select_window(false);
  }
  if (urgent_out_ && snd_up_ > seq && (flags & kRst) == 0) {
    uint32_t ahead = static_cast<uint32_t>(snd_up_ - seq);
    s.flags = static_cast<uint8_t>(s.flags | kUrg);
    s.urgent_pointer = static_cast<uint16_t>(ahead < 65535 ? ahead : 65535);
  }
  if (ts_enabled_ && (flags & kRst) == 0) {
    s.options.has_timestamps = true;
    s.options.ts_value = timestamp_value(now_, ts_offset_);
    s.options.ts_echo = ts_recent_;
  }
}

void Connection::send_ack() {
  OutputSegment s;
  fill_header(s, snd_nxt_, kAck);
  if (sack_enabled_) sack_.emit(s.options, ts_enabled_ ? 3 : 4);
  if (quick_acks_ > 0) --quick_acks_;
  emit(s);
}

// For a synchronised connection, and one that had sent its SYN+ACK.
void Connection::send_reset() {
  OutputSegment s;
  fill_header(s, snd_nxt_, kRst | kAck);
  emit(s);
}

// Answers an acknowledgement of what we never sent (RFC 9293 section 3.10.7.1).
void Connection::send_stray_reset(SeqNum seq) {
  OutputSegment s;
  s.seq = seq;
  s.flags = kRst;
  emit(s);
}

// An old sequence number provokes an acknowledgement (RFC 9293 section 3.8.4; zero windows: as Linux).
void Connection::send_probe() {
  OutputSegment s;
  fill_header(s, snd_una_ - 1, kAck);
  emit(s);
}

void Connection::emit(OutputSegment& s) {
  ++segments_out_;
  if ((s.flags & kAck) != 0) {
    last_ack_sent_ = rcv_nxt_;
    unacknowledged_ = 0;
    small_unacknowledged_ = false;
    ack_now_ = false;
    disarm(kDelayedAck);
  }
  host_.emit(*this, s);
}

}  // namespace ferry::tcp

// Sixth to eighth step of RFC 9293 section 3.10.7.4: urgent pointer, text, FIN; and when to acknowledge (section 3.8.6.3).
//
// Payload is placed in the owner's memory as it arrives and named by a descriptor from then on; what arrives early waits in
// reassembly_ as descriptors, so nothing is copied again when the gap closes.
#include "tcp/connection.h"
#include "tcp/limits.h"

namespace ferry::tcp {

void Connection::on_data(const InputSegment& s) {
  bool fin = (s.flags & kFin) != 0;
  if (s.payload.empty() && !fin) return;
  if (!receives_data()) {  // "should not occur": the peer has sent its FIN
    if (!s.payload.empty() || s.seq < rcv_nxt_) ack_now_ = true;
    return;
  }
  SeqNum start = s.seq;
  ByteSpan payload = s.payload;
  SeqNum end = start + static_cast<uint32_t>(payload.size());
  SeqNum fin_at = end;
  if (!payload.empty()) note_data();
  if (end <= rcv_nxt_ && !payload.empty() && (!fin || fin_at < rcv_nxt_)) {
    if (sack_enabled_) sack_.add_duplicate(start, end);
    ack_now_ = true;
    return;
  }
  if (start < rcv_nxt_) {
    uint32_t known = static_cast<uint32_t>(rcv_nxt_ - start);
    if (known > payload.size()) known = static_cast<uint32_t>(payload.size());
    if (known > 0 && sack_enabled_) sack_.add_duplicate(start, start + known);
    payload = payload.subspan(known);
    start = start + known;
    ack_now_ = true;
  }
  if (end > rcv_adv_) {  // more than we offered
    uint32_t beyond = static_cast<uint32_t>(end - rcv_adv_);
    payload = payload.subspan(0, payload.size() > beyond ? payload.size() - beyond : 0);
    fin = false;
    ack_now_ = true;
  }
  if (owner_gone_ && !payload.empty()) {  // RFC 2525 section 2.17, RFC 1122 section 4.2.2.13: nobody will read it
    send_reset();
    enter_closed();
    return;
  }
  if (!payload.empty()) {
    measure_receive_rtt(s);
    if (start == rcv_nxt_ && reassembly_.empty()) {
      if (!take_in_order(payload)) return;
    } else {
      take_out_of_order(start, payload);
    }
    schedule_ack(s);
  }
  if (fin && fin_at >= rcv_nxt_ && !peer_fin_known_) {
    peer_fin_known_ = true;
    peer_fin_ = fin_at;
    if (fin_at != rcv_nxt_) ack_now_ = true;
  }
  if (peer_fin_known_ && peer_fin_ == rcv_nxt_) on_fin(peer_fin_);
}

// Nothing is missing before it: straight through. False: the owner has no memory for any of it; as if it had been lost.
bool Connection::take_in_order(ByteSpan payload) {
  if (read_shut_) {
    rcv_nxt_ = rcv_nxt_ + static_cast<uint32_t>(payload.size());
    bytes_received_ += payload.size();
    return true;
  }
  const SeqNum start = rcv_nxt_;
  while (!payload.empty()) {
    Result<buf::IoDesc> placed = host_.place(*this, payload);
    if (!placed && !reassembly_.empty()) {
      // What waits behind the gap may be all that the owner has room for: then the gap would stay open for ever. It goes;
      // RFC 2018 section 8 lets a receiver take back what it has announced.
      discard_reassembly();
      sack_.clear();
      placed = host_.place(*this, payload);
    }
    if (!placed) break;
    deliver(*placed);
    payload = payload.subspan(placed->length);
  }
  return rcv_nxt_ != start;
}

void Connection::deliver(const buf::IoDesc& d) {
  rcv_nxt_ = rcv_nxt_ + d.length;
  unread_ += d.length;
  bytes_received_ += d.length;
  if (urgent_in_ && rcv_nxt_ >= rcv_up_) urgent_in_ = false;
  host_.deliver(*this, d);
  raise(Event::readable);
}

// Places the parts of `payload` that are not there yet.
void Connection::take_out_of_order(SeqNum start, ByteSpan payload) {
  SeqNum end = start + static_cast<uint32_t>(payload.size());
  if (start != rcv_nxt_) {
    ++out_of_order_;
    ack_now_ = true;  // RFC 5681 section 4.2
  }
  Reassembly::Gap gap;
  SeqNum from = start;
  bool placed_any = false;
  while (reassembly_.next_gap(from, end, gap)) {
    ByteSpan part = payload.subspan(static_cast<size_t>(gap.start - start), static_cast<size_t>(gap.end - gap.start));
    from = gap.end;
    if (gap.start == rcv_nxt_) {  // needs no place in the queue: a full queue must not keep the first gap open
      if (!take_in_order(part)) break;
      drain_reassembly();
      if (rcv_nxt_ > from) from = rcv_nxt_;
      sack_.advance(rcv_nxt_);
      ack_now_ = true;
    } else {
      if (!reassembly_.reserve()) break;
      Result<buf::IoDesc> placed = host_.place(*this, part);
      if (!placed) break;
      from = gap.end = gap.start + placed->length;
      reassembly_.insert(gap, *placed);
      if (sack_enabled_) sack_.add(gap.start, gap.end);
    }
    placed_any = true;
  }
  if (!placed_any && from == start && sack_enabled_) {
    sack_.add_duplicate(start, end);  // all of it had been here
    ack_now_ = true;
  }
}

void Connection::drain_reassembly() {
  buf::IoDesc d;
  bool moved = false;
  while (reassembly_.take(rcv_nxt_, d)) {
    moved = true;
    if (read_shut_) {
      rcv_nxt_ = rcv_nxt_ + d.length;
      bytes_received_ += d.length;
      host_.discard(*this, d);
    } else {
      deliver(d);
    }
  }
  if (!moved) return;
  ack_now_ = true;  // RFC 5681 section 4.2: a gap was filled, in part or in whole
}

void Connection::discard_reassembly() {
  buf::IoDesc d;
  while (reassembly_.take_any(d)) host_.discard(*this, d);
}

void Connection::on_fin(SeqNum fin) {
  rcv_nxt_ = fin + 1;
  if (rcv_adv_ < rcv_nxt_) rcv_adv_ = rcv_nxt_;
  fin_received_ = true;
  if (!reassembly_.empty()) {  // what a peer sent behind its own FIN is no part of the stream
    discard_reassembly();
    sack_.clear();
  }
  ack_now_ = true;
  raise(Event::peer_closed);
  switch (state_) {
    case State::established: set_state(State::close_wait); break;
    case State::fin_wait_1: set_state(State::closing); break;  // had our FIN been acknowledged, we were in FIN_WAIT_2
    case State::fin_wait_2:
      send_ack();
      enter_time_wait();
      break;
    default: break;
  }
}

// The pointer names the byte after the urgent one (RFC 6093 section 3.1: what everyone does). The byte stays in the stream.
void Connection::note_urgent(const InputSegment& s) {
  if ((s.flags & kUrg) == 0 || !receives_data() || s.urgent_pointer == 0) return;
  SeqNum up = s.seq + s.urgent_pointer;
  if (up <= rcv_nxt_ || (urgent_mark_ != 0 && up < rcv_up_)) return;
  if (!(urgent_mark_ != 0 && up == rcv_up_)) {
    rcv_up_ = up;
    urgent_in_ = true;
    urgent_byte_ = 0;
    urgent_mark_ = bytes_received_ + static_cast<uint32_t>(up - rcv_nxt_);
    raise(Event::urgent);
  }
  SeqNum at = rcv_up_ - 1;
  if (urgent_byte_ == 0 && at >= s.seq && at < s.seq + static_cast<uint32_t>(s.payload.size())) {
    urgent_byte_ = 0x100 | load_u8(s.payload, static_cast<size_t>(at - s.seq));
    raise(Event::urgent);
  }
}

// A sender that starts, or starts anew after a pause, is acknowledged quickly for a while: its window has to grow.
void Connection::note_data() {
  if (now_ - last_data_received_ > rtt_.base_timeout() && !interactive_) quick_acks_ = kQuickAcks;
  ++data_segments_in_;
  last_data_received_ = now_;
}

// In-order data came: acknowledge when this turn of the host ends, or wait for a second segment or an answer to carry it. What comes in
// one turn was here at the same time, in a burst, and gets one acknowledgement, as what Linux joins (GRO) does. Only so much may wait
// for the end of the turn: the sender is to go on while the rest of a long burst is taken in.
void Connection::schedule_ack(const InputSegment& s) {
  uint32_t length = static_cast<uint32_t>(s.payload.size());
  uint32_t wire = s.gso_size != 0 && s.gso_size < length ? s.gso_size : length;
  if (wire > rcv_mss_) rcv_mss_ = static_cast<uint16_t>(wire < link_mss_ ? wire : link_mss_);
  unacknowledged_ += length;
  small_unacknowledged_ |= wire < rcv_mss_;
  if (!reassembly_.empty()) ack_now_ = true;
  if (ack_now_) return;
  if (unacknowledged_ >= kMaxUnacknowledged) ack_now_ = true;
  else if (owes_ack()) arm(kDelayedAck, now_);
  else if (!armed(kDelayedAck)) arm(kDelayedAck, now_ + kDelayedAckTime);
}

// Whether what came since our last acknowledgement need not wait for more. Behind a small segment a sender may hold back the next until it
// is acknowledged (RFC 9293 section 3.7.4): only an answer of ours, which would come at once, is waited for.
bool Connection::owes_ack() const {
  return unacknowledged_ >= 2 * uint32_t{rcv_mss_} || ((quick_acks_ > 0 || small_unacknowledged_) && !interactive_);
}

// How long a window's worth of data is under way, seen from here: by the echo of our timestamps.
void Connection::measure_receive_rtt(const InputSegment& s) {
  if (!ts_enabled_ || s.options.ts_echo == 0 || s.payload.size() < rcv_mss_) return;
  int32_t ms = static_cast<int32_t>(timestamp_value(now_, ts_offset_) - s.options.ts_echo);
  if (ms < 0 || ms > 60'000) return;
  uint32_t us = ms == 0 ? 500 : static_cast<uint32_t>(ms) * 1000;
  if (receive_rtt_us_ == 0 || us < receive_rtt_us_) receive_rtt_us_ = us;
  else receive_rtt_us_ += (us - receive_rtt_us_) / 8;
}

}  // namespace ferry::tcp

// See record.h.
#include "tcp/record.h"

#include "tcp/connection.h"
#include "tcp/limits.h"

namespace ferry::tcp {
namespace {

void put(MutableByteSpan out, size_t at, const void* from, size_t n) {
  copy_bytes(out.subspan(at, n), ByteSpan(static_cast<const std::byte*>(from), n));
}

RecordRange range_of(const buf::IoDesc& d, SeqNum start) {
  return {d.offset, d.length, d.region, start.value(), 0};
}

RecordRange load_range(ByteSpan record, uint32_t index) {
  RecordRange r;
  __builtin_memcpy(&r, record.data() + sizeof(Record) + index * sizeof(RecordRange), sizeof r);
  return r;
}

bool savable(State s) { return s != State::syn_sent && s != State::time_wait && s != State::closed && s != State::listen; }

// Whether the numbers of a record fit together, so that no assertion of a live connection can fail on them.
bool plausible(const Record& r, ByteSpan record) {
  if (r.state > static_cast<uint8_t>(State::closing) || !savable(static_cast<State>(r.state)) || r.state == 0) return false;
  if (r.congestion != 1 && r.congestion != 2) return false;
  if (r.send_ranges > SendQueue::kMaxDescriptors || r.receive_ranges > Reassembly::kMaxRuns) return false;
  uint64_t size = sizeof(Record) + (uint64_t{r.send_ranges} + r.receive_ranges) * sizeof(RecordRange);
  if (r.total_size != size || record.size() < size) return false;
  if (r.link_mss < kMinMss || r.peer_mss < kMinMss || r.snd_wscale > 14 || r.rcv_wscale > 14) return false;
  if (r.max_segment != 0 && r.max_segment < kMinMss) return false;
  if (r.snd_buf > kMaxSendBuffer || r.rcv_buf > kMaxReceiveBuffer) return false;
  if (r.keep_idle_s == 0 || r.keep_interval_s == 0 || r.keep_count == 0 || r.syn_count == 0) return false;
  if (SeqNum(r.rcv_adv) < SeqNum(r.rcv_nxt)) return false;

  State state = static_cast<State>(r.state);
  bool handshake = state == State::syn_received;
  bool closing = state == State::fin_wait_1 || state == State::fin_wait_2 || state == State::closing || state == State::last_ack;
  if (!handshake && closing != ((r.flags & Record::kFinQueued) != 0)) return false;
  bool ended = state == State::close_wait || state == State::closing || state == State::last_ack;
  if (ended != ((r.flags & Record::kFinReceived) != 0)) return false;
  uint64_t queued = 0;
  for (uint32_t i = 0; i < r.send_ranges; ++i) queued += load_range(record, i).length;
  if (queued > INT32_MAX) return false;
  bool fin_sent = (r.flags & Record::kFinSent) != 0;
  if (fin_sent && (r.flags & Record::kFinQueued) == 0) return false;
  int64_t flight = SeqNum(r.snd_nxt) - SeqNum(r.snd_una);
  if (handshake) return flight == 1 && !fin_sent;
  if (flight < 0) return false;
  // A FIN that was sent is in flight behind all of the queue, or acknowledged.
  if (fin_sent && flight > 0) return static_cast<uint64_t>(flight) == queued + 1;
  if (fin_sent) return queued == 0 && state == State::fin_wait_2;
  if (state == State::fin_wait_2) return false;
  return static_cast<uint64_t>(flight) <= queued;
}

}  // namespace

uint32_t Connection::record_size() const {
  return static_cast<uint32_t>(sizeof(Record) + (queue_.descriptors() + reassembly_.size()) * sizeof(RecordRange));
}

Result<uint32_t> Connection::save(MutableByteSpan out) const {
  if (!savable(state_)) return Errc::invalid;
  if (out.size() < record_size()) return Errc::no_buffers;
  Record r{};
  r.magic = Record::kMagic;
  r.version = Record::kVersion;
  r.state = static_cast<uint8_t>(state_);
  r.congestion = static_cast<uint8_t>(options_.congestion);
  r.total_size = record_size();
  auto flag = [&](bool on, Record::Flag f) {
    if (on) r.flags |= f;
  };
  flag(ts_enabled_, Record::kTimestamps), flag(sack_enabled_, Record::kSack), flag(scaling_, Record::kScaling);
  flag(fin_queued_, Record::kFinQueued), flag(fin_sent_, Record::kFinSent), flag(owner_gone_, Record::kOwnerGone);
  flag(passive_, Record::kPassive), flag(read_shut_, Record::kReadShut), flag(urgent_out_, Record::kUrgentOut);
  flag(urgent_in_, Record::kUrgentIn), flag(peer_fin_known_, Record::kPeerFinKnown);
  flag(fin_received_, Record::kFinReceived), flag(options_.no_delay, Record::kNoDelay), flag(options_.cork, Record::kCork);
  flag(options_.keep_alive, Record::kKeepAlive);
  __builtin_memcpy(r.local_address, local_.address.octets.data(), 16);
  __builtin_memcpy(r.remote_address, remote_.address.octets.data(), 16);
  r.local_port = local_.port, r.remote_port = remote_.port;
  r.iss = iss_.value(), r.irs = irs_.value();
  r.snd_una = snd_una_.value(), r.snd_nxt = snd_nxt_.value(), r.snd_wnd = snd_wnd_, r.max_snd_wnd = max_snd_wnd_;
  r.snd_wl1 = snd_wl1_.value(), r.snd_wl2 = snd_wl2_.value(), r.snd_up = snd_up_.value();
  r.rcv_nxt = rcv_nxt_.value(), r.rcv_adv = rcv_adv_.value(), r.rcv_up = rcv_up_.value(), r.peer_fin = peer_fin_.value();
  r.unread = unread_;
  r.snd_buf = snd_buf_, r.rcv_buf = rcv_buf_, r.max_gso = max_gso_;
  r.timestamp_offset = ts_offset_, r.ts_recent = ts_recent_, r.ts_recent_at_ns = ts_recent_at_.ns();
  r.send_ranges = queue_.descriptors(), r.receive_ranges = reassembly_.size();
  r.link_mss = link_mss_, r.peer_mss = peer_mss_, r.snd_wscale = snd_wscale_, r.rcv_wscale = rcv_wscale_;
  r.keep_count = options_.keep_count, r.syn_count = options_.syn_count;
  r.keep_idle_s = options_.keep_idle_s, r.keep_interval_s = options_.keep_interval_s;
  r.max_segment = options_.max_segment, r.linger2_s = options_.linger2_s, r.user_timeout_ms = options_.user_timeout_ms;
  r.receive_buffer_option = options_.receive_buffer, r.send_buffer_option = options_.send_buffer;
  r.window_clamp = options_.window_clamp, r.not_sent_low_water = options_.not_sent_low_water;
  r.urgent_byte = urgent_byte_, r.urgent_mark = urgent_mark_;
  r.bytes_acked = bytes_acked_, r.bytes_received = bytes_received_;
  put(out, 0, &r, sizeof r);

  size_t at = sizeof r;
  SeqNum start = snd_una_;
  for (uint32_t i = 0; i < queue_.descriptors(); ++i, at += sizeof(RecordRange)) {
    RecordRange range = range_of(queue_.descriptor(i), start);
    start = start + range.length;
    put(out, at, &range, sizeof range);
  }
  for (uint32_t i = 0; i < reassembly_.size(); ++i, at += sizeof(RecordRange)) {
    RecordRange range = range_of(reassembly_.run(i).data, reassembly_.run(i).start);
    put(out, at, &range, sizeof range);
  }
  return r.total_size;
}

Status Connection::restore(Instant now, ByteSpan record) {
  if (state_ != State::closed || record.size() < sizeof(Record)) return Errc::invalid;
  Record r;
  __builtin_memcpy(&r, record.data(), sizeof r);
  if (r.magic != Record::kMagic || r.version != Record::kVersion) return Errc::version_mismatch;
  if (!plausible(r, record)) return Errc::malformed;
  now_ = now;
  for (uint32_t i = 0; i < r.send_ranges; ++i) {
    RecordRange range = load_range(record, i);
    if (!queue_.append({range.offset, range.length, range.region})) return forget_restored(Errc::no_memory);
  }
  SeqNum next(r.rcv_nxt);
  for (uint32_t i = 0; i < r.receive_ranges; ++i) {
    RecordRange range = load_range(record, r.send_ranges + i);
    SeqNum start(range.start), end = start + range.length;
    bool after = i == 0 ? start > next : start >= next;
    if (range.length == 0 || range.length > INT32_MAX || !after || end > SeqNum(r.rcv_adv)) {
      return forget_restored(Errc::malformed);
    }
    if (!reassembly_.reserve()) return forget_restored(Errc::no_memory);
    reassembly_.insert({start, end, reassembly_.size()}, {range.offset, range.length, range.region});
    next = end;
  }
  auto flag = [&](Record::Flag f) { return (r.flags & f) != 0; };
  iss_ = SeqNum(r.iss), irs_ = SeqNum(r.irs);
  snd_una_ = SeqNum(r.snd_una), snd_nxt_ = SeqNum(r.snd_nxt), snd_wnd_ = r.snd_wnd, max_snd_wnd_ = r.max_snd_wnd;
  snd_wl1_ = SeqNum(r.snd_wl1), snd_wl2_ = SeqNum(r.snd_wl2), snd_up_ = SeqNum(r.snd_up);
  if (r.state != static_cast<uint8_t>(State::syn_received) && in_flight() > 0) {
    // One run for everything that may be on its way.
    if (!log_.reserve()) return forget_restored(Errc::no_memory);
    log_.append(snd_una_, snd_nxt_, now, 0);
  }
  rcv_nxt_ = last_ack_sent_ = SeqNum(r.rcv_nxt), rcv_adv_ = SeqNum(r.rcv_adv), rcv_up_ = SeqNum(r.rcv_up);
  peer_fin_ = SeqNum(r.peer_fin), unread_ = r.unread;
  __builtin_memcpy(local_.address.octets.data(), r.local_address, 16);
  __builtin_memcpy(remote_.address.octets.data(), r.remote_address, 16);
  local_.port = r.local_port, remote_.port = r.remote_port;
  ts_enabled_ = flag(Record::kTimestamps), sack_enabled_ = flag(Record::kSack), scaling_ = flag(Record::kScaling);
  fin_queued_ = flag(Record::kFinQueued), fin_sent_ = flag(Record::kFinSent), owner_gone_ = flag(Record::kOwnerGone);
  passive_ = flag(Record::kPassive), read_shut_ = flag(Record::kReadShut), urgent_out_ = flag(Record::kUrgentOut);
  urgent_in_ = flag(Record::kUrgentIn), peer_fin_known_ = flag(Record::kPeerFinKnown);
  fin_received_ = flag(Record::kFinReceived);
  options_.no_delay = flag(Record::kNoDelay), options_.cork = flag(Record::kCork);
  options_.keep_alive = flag(Record::kKeepAlive);
  options_.congestion = static_cast<cc::Algorithm>(r.congestion);
  options_.keep_count = r.keep_count, options_.syn_count = r.syn_count;
  options_.keep_idle_s = r.keep_idle_s, options_.keep_interval_s = r.keep_interval_s;
  options_.max_segment = r.max_segment, options_.linger2_s = r.linger2_s, options_.user_timeout_ms = r.user_timeout_ms;
  options_.receive_buffer = r.receive_buffer_option, options_.send_buffer = r.send_buffer_option;
  options_.window_clamp = r.window_clamp, options_.not_sent_low_water = r.not_sent_low_water;
  snd_buf_ = r.snd_buf, rcv_buf_ = r.rcv_buf, max_gso_ = r.max_gso;
  link_mss_ = r.link_mss, peer_mss_ = r.peer_mss, snd_wscale_ = r.snd_wscale, rcv_wscale_ = r.rcv_wscale;
  ts_offset_ = r.timestamp_offset, ts_recent_ = r.ts_recent, ts_recent_at_ = now;
  if (r.ts_recent_at_ns >= 0 && r.ts_recent_at_ns < now.ns()) ts_recent_at_ = Instant::from_ns(r.ts_recent_at_ns);
  urgent_byte_ = r.urgent_byte, urgent_mark_ = r.urgent_mark;
  bytes_acked_ = r.bytes_acked, bytes_received_ = r.bytes_received;
  update_mss();
  cc_.start(options_.congestion, mss_);
  recover_ = snd_una_ - 1;
  undo_una_ = dsack_round_ = snd_small_ = rack_end_ = snd_una_;
  drain_since_ = delivered_at_ = last_received_ = last_data_sent_ = last_data_received_ = last_ack_received_ = now;
  state_ = static_cast<State>(r.state);  // not a transition: it is the state that the connection is in
  return {};
}

Errc Connection::forget_restored(Errc why) {
  queue_.clear();
  log_.clear();
  buf::IoDesc d;
  while (reassembly_.take_any(d)) {
  }
  return why;
}

void Connection::resume(Instant now) {
  now_ = now;
  if (state_ == State::syn_received) {
    send_syn();
    arm(kRetransmit, now_ + rtt_.timeout(0));
  } else if (synchronised()) {
    // What the peer has of it, its acknowledgement will say at once; the rest is missing.
    log_.mark_all_lost();
    if (log_.lost_bytes() > 0) {
      recovery_ = Recovery::loss;
      recover_ = snd_nxt_;
      must_resend_ = true;
    }
    for (uint32_t i = 0; i < reassembly_.size() && sack_enabled_; ++i) {
      sack_.add(reassembly_.run(i).start, reassembly_.run(i).end());
    }
    ack_now_ = true;
    output();
    arm_keep_alive();
    if (state_ == State::fin_wait_2 && owner_gone_) linger_in_fin_wait_2();
  }
  finish();
}

}  // namespace ferry::tcp

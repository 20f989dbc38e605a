// Birth and death of a connection, and its owner's calls (RFC 9293 section 3.10.1 to 3.10.6).
#include "tcp/connection.h"

#include "tcp/limits.h"

namespace ferry::tcp {

Connection::Connection(Host& host, const Setup& setup)
    : host_(host),
      context_(setup.context),
      local_(setup.local),
      remote_(setup.remote),
      options_(setup.options),
      iss_(setup.iss),
      snd_una_(setup.iss),
      snd_nxt_(setup.iss),
      link_mss_(setup.mss),
      max_gso_(setup.max_gso),
      ts_offset_(setup.timestamp_offset) {
  for (Instant& t : timers_) t = Instant::never();
  last_challenge_ = Instant::from_ns(INT64_MIN / 2);
  recover_ = snd_small_ = snd_up_ = setup.iss;
  snd_buf_ = options_.send_buffer != 0 ? options_.send_buffer : kInitialSendBuffer;
  rcv_buf_ = options_.receive_buffer != 0 ? options_.receive_buffer : kInitialReceiveBuffer;
  update_mss();
  cc_.start(options_.congestion, mss_);
}

Connection::~Connection() = default;

Status Connection::send(Instant now, const buf::IoDesc& data, SendFlags flags) {
  now_ = now;
  if (state_ == State::closed || state_ == State::time_wait || fin_queued_ || owner_gone_) return Errc::broken_pipe;
  if (data.length == 0 || data.length > kMaxSend) return Errc::invalid;
  if (send_space() == 0 || !queue_.append(data)) {
    send_refused_ = true;
    return Errc::again;
  }
  more_ = flags.more;
  if (flags.urgent) {
    snd_up_ = snd_una_ + (state_ == State::syn_sent || state_ == State::syn_received ? 1 : 0) + queue_.bytes();
    urgent_out_ = true;
  }
  if (synchronised()) output();
  finish();
  return {};
}

uint32_t Connection::unsent() const {
  if (fin_sent_) return 0;
  if (!synchronised()) return queue_.bytes();
  return queue_.bytes() - in_flight();
}

uint32_t Connection::send_space() const {
  if (fin_queued_ || state_ == State::closed || state_ == State::time_wait) return 0;
  uint32_t used = queue_.bytes();
  if (used >= snd_buf_ || queue_.descriptors() >= SendQueue::kMaxDescriptors - 1) return 0;
  if (options_.not_sent_low_water != 0 && unsent() >= options_.not_sent_low_water) return 0;
  return snd_buf_ - used;
}

void Connection::consumed(Instant now, uint32_t bytes) {
  now_ = now;
  unread_ -= bytes < unread_ ? bytes : unread_;
  tune_receive_buffer(bytes);
  // As Linux: only a window at least twice as large as the peer's is news; RFC 9293 section 3.8.6.2.2 bounds it from below.
  uint32_t known = receive_window();
  uint32_t free = free_receive_space();
  if (synchronised() && receives_data() && free / 2 >= known && free - known >= window_step()) send_ack();
  finish();
}

uint32_t Connection::report_after() const {
  uint32_t quarter = rcv_buf_ / 4 > 0 ? rcv_buf_ / 4 : 1;
  uint64_t wanted = uint64_t{receive_window()} * 2 + window_step();
  uint64_t free = free_receive_space();
  if (free >= wanted) return 1;
  uint64_t missing = wanted - free;
  return missing < quarter ? static_cast<uint32_t>(missing) : quarter;
}

void Connection::shutdown_write(Instant now) {
  now_ = now;
  start_fin();
  finish();
}

// CLOSE without giving up reading (RFC 9293 section 3.10.4). Before the handshake is done the FIN waits for it.
void Connection::start_fin() {
  if (fin_queued_ || state_ == State::closed || state_ == State::time_wait) return;
  fin_queued_ = true;
  if (state_ == State::established) set_state(State::fin_wait_1);
  else if (state_ == State::close_wait) set_state(State::last_ack);
  else return;
  output();
}

void Connection::shutdown_read(Instant now) {
  now_ = now;
  read_shut_ = true;
  finish();
}

void Connection::close(Instant now) {
  now_ = now;
  if (state_ != State::closed && !owner_gone_) {
    owner_gone_ = true;
    if (state_ == State::syn_sent) {
      enter_closed();
    } else if (unread_ > 0 && state_ != State::time_wait) {
      send_reset();
      enter_closed();
    } else {
      start_fin();
      if (state_ == State::fin_wait_2) linger_in_fin_wait_2();
    }
  }
  finish();
}

void Connection::abort(Instant now) {
  now_ = now;
  if (state_ != State::closed) {
    owner_gone_ = true;
    if (state_ != State::syn_sent && state_ != State::time_wait) send_reset();
    enter_closed();
  }
  finish();
}

Status Connection::set_option(Instant now, Option option, int64_t value) {
  now_ = now;
  FERRY_TRY(store_option(options_, option, value));
  switch (option) {
    case Option::no_delay:
    case Option::cork:
      if (synchronised() && state_ != State::time_wait) output();
      break;
    case Option::keep_alive:
    case Option::keep_idle:
    case Option::keep_interval:
      arm_keep_alive();
      break;
    case Option::max_segment:
      update_mss();
      break;
    case Option::quick_ack:
      interactive_ = value == 0;
      quick_acks_ = value != 0 ? kQuickAcks : 0;
      if (value != 0 && unacknowledged_ > 0 && synchronised() && state_ != State::time_wait) send_ack();
      break;
    case Option::receive_buffer: rcv_buf_ = options_.receive_buffer; break;
    case Option::send_buffer: snd_buf_ = options_.send_buffer; break;
    case Option::congestion: cc_.select(options_.congestion); break;
    default: break;
  }
  finish();
  return {};
}

void Connection::on_icmp_error(Instant now, IcmpKind kind, Errc error, SeqNum quoted) {
  now_ = now;
  if (state_ != State::closed && quoted >= snd_una_ && quoted < snd_nxt_) {
    bool opening = state_ == State::syn_sent || state_ == State::syn_received;
    if (opening && kind == IcmpKind::hard) fail(error);
    else soft_error_ = error;
  }
  finish();
}

void Connection::on_path_mss(Instant now, uint16_t mss, SeqNum quoted) {
  now_ = now;
  if (synchronised() && quoted >= snd_una_ && quoted < snd_nxt_ && mss >= kMinMss && mss < link_mss_) {
    link_mss_ = mss;
    update_mss();
    cc_.set_mss(mss_);
    // Not a loss by congestion (RFC 1191 section 6.5): the window stays.
    for (uint32_t i = 0; i < log_.size(); ++i)
      if (log_.run(i).length() > mss_) log_.mark_lost(i);
    output();
  }
  finish();
}

}  // namespace ferry::tcp

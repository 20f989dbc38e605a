// Changes of state, ends of connections, and what is done at the end of every call. See the diagram in state.h.
#include "tcp/state.h"

#include "tcp/connection.h"

namespace ferry::tcp {
namespace {

constexpr uint16_t bit(State s) { return static_cast<uint16_t>(1u << static_cast<unsigned>(s)); }

// RFC 9293 figure 5, plus CLOSED after everything. Index: State.
constexpr uint16_t successors(State s) {
  switch (s) {
    case State::closed: return bit(State::syn_sent) | bit(State::syn_received);
    case State::listen: return 0;
    case State::syn_sent: return bit(State::established) | bit(State::syn_received) | bit(State::closed);
    case State::syn_received: return bit(State::established) | bit(State::closed);
    case State::established: return bit(State::fin_wait_1) | bit(State::close_wait) | bit(State::closed);
    case State::fin_wait_1: return bit(State::fin_wait_2) | bit(State::closing) | bit(State::closed);
    case State::fin_wait_2: return bit(State::time_wait) | bit(State::closed);
    case State::closing: return bit(State::time_wait) | bit(State::closed);
    case State::time_wait: return bit(State::closed);
    case State::close_wait: return bit(State::last_ack) | bit(State::closed);
    case State::last_ack: return bit(State::closed);
  }
  return 0;
}

}  // namespace

const char* state_name(State s) {
  switch (s) {
    case State::established: return "established";
    case State::syn_sent: return "syn_sent";
    case State::syn_received: return "syn_received";
    case State::fin_wait_1: return "fin_wait_1";
    case State::fin_wait_2: return "fin_wait_2";
    case State::time_wait: return "time_wait";
    case State::closed: return "closed";
    case State::close_wait: return "close_wait";
    case State::last_ack: return "last_ack";
    case State::listen: return "listen";
    case State::closing: return "closing";
  }
  return "?";
}

bool legal_transition(State from, State to) { return (successors(from) & bit(to)) != 0; }

void Connection::set_state(State to) {
  FERRY_ASSERT(legal_transition(state_, to));
  state_ = to;
}

bool Connection::synchronised() const {
  return state_ != State::closed && state_ != State::syn_sent && state_ != State::syn_received;
}

bool Connection::receives_data() const {
  return state_ == State::established || state_ == State::fin_wait_1 || state_ == State::fin_wait_2;
}

void Connection::release_memory() {
  discard_reassembly();
  uint32_t left = queue_.bytes();
  queue_.clear();
  log_.clear();
  sack_.clear();
  if (left > 0) host_.on_completed(*this, left);
}

void Connection::enter_closed() {
  set_state(State::closed);
  for (Instant& t : timers_) t = Instant::never();
  ack_now_ = false;
  release_memory();
  raise(Event::closed);
}

void Connection::fail(Errc error) {
  error_ = error;
  raise(Event::failed);
  enter_closed();
}

void Connection::enter_time_wait() {
  set_state(State::time_wait);
  for (Instant& t : timers_) t = Instant::never();
  release_memory();
  arm(kLinger, now_ + TimeWait::kDuration);
  raise(Event::closed);
}

void Connection::arm(Timer t, Instant at) { timers_[t] = at; }

Instant Connection::next_deadline() const {
  Instant first = timers_[0];
  for (uint8_t i = 1; i < kTimerCount; ++i) first = earlier(first, timers_[i]);
  return first;
}

// The last thing that every entry function does; nothing of the connection is touched after on_events.
void Connection::finish() {
  Instant deadline = next_deadline();
  if (deadline < announced_) {
    announced_ = deadline;
    host_.on_deadline_changed(*this);
  }
  uint32_t events = events_;
  if (events == 0) return;
  events_ = 0;
  host_.on_events(*this, events);
}

TimeWait Connection::time_wait() const {
  TimeWait w;
  w.local = local_;
  w.remote = remote_;
  w.snd_nxt = snd_nxt_;
  w.rcv_nxt = rcv_nxt_;
  w.rcv_wnd = receive_window();
  w.window_field = last_window_field_;
  w.timestamps = ts_enabled_;
  w.timestamp_offset = ts_offset_;
  w.ts_recent = ts_recent_;
  w.ts_recent_at = ts_recent_at_;
  w.expires = timers_[kLinger];
  w.last_answer = last_challenge_;
  return w;
}

}  // namespace ferry::tcp

// The window that we offer, and how large the buffers on both sides should be.
//
// RFC 9293 section 3.8.6.2.2 (receiver's silly window avoidance), 3.8.6 (never take back what was offered), RFC 7323 section 2.
// Buffers are no memory here, only permissions: the receive buffer follows what the owner reads in a round trip, the send buffer
// follows the congestion window.
#include "tcp/connection.h"
#include "tcp/limits.h"

namespace ferry::tcp {

uint32_t Connection::free_receive_space() const {
  uint32_t free = rcv_buf_ > unread_ ? rcv_buf_ - unread_ : 0;
  uint32_t clamp = options_.window_clamp;
  return clamp != 0 && free > clamp ? clamp : free;
}

// The least step in which the right edge moves.
uint32_t Connection::window_step() const {
  uint32_t segment = rcv_mss_ > mss_ ? rcv_mss_ : mss_;
  return rcv_buf_ / 2 < segment ? rcv_buf_ / 2 : segment;
}

// Chooses the window of the segment that is about to be sent, and remembers the right edge that it promises.
uint16_t Connection::select_window(bool syn) {
  uint32_t free = free_receive_space();
  uint32_t known = rcv_adv_ > rcv_nxt_ ? receive_window() : 0;
  uint32_t window = known;
  if (syn) window = free;
  else if (free > known && free - known >= window_step()) window = free;

  uint8_t scale = syn ? 0 : rcv_wscale_;
  uint32_t field = window >> scale;
  // What was promised, and is not a multiple of the scale now, is rounded up.
  if ((field << scale) < known && !syn) field = (known + (1u << scale) - 1) >> scale;
  if (field > 65535) field = 65535;
  SeqNum edge = rcv_nxt_ + (field << scale);
  if (syn || edge > rcv_adv_) rcv_adv_ = edge;
  last_window_field_ = static_cast<uint16_t>(field);
  return last_window_field_;
}

// The owner has read `bytes`. A sender can use at most what is read in one round trip; twice that leaves room for growth.
void Connection::tune_receive_buffer(uint32_t bytes) {
  if (options_.receive_buffer != 0 || rcv_buf_ >= kMaxReceiveBuffer) return;
  drained_ += bytes;
  if (drained_ < rcv_buf_ / 2) return;
  uint64_t elapsed = static_cast<uint64_t>((now_ - drain_since_).count_us()) + 1;
  uint64_t rtt = 1000;  // scheduling and batching at either end make it no shorter in effect
  if (static_cast<uint64_t>(rtt_.smoothed().count_us()) > rtt) rtt = static_cast<uint64_t>(rtt_.smoothed().count_us());
  if (receive_rtt_us_ > rtt) rtt = receive_rtt_us_;
  uint64_t wanted = uint64_t{drained_} * rtt / elapsed * 2;
  if (wanted > uint64_t{rcv_buf_} * 2) wanted = uint64_t{rcv_buf_} * 2;
  if (wanted > kMaxReceiveBuffer) wanted = kMaxReceiveBuffer;
  if (wanted > rcv_buf_) rcv_buf_ = static_cast<uint32_t>(wanted);
  drained_ = 0;
  drain_since_ = now_;
}

// Two windows: one in flight, one being filled by the owner meanwhile.
void Connection::tune_send_buffer() {
  if (options_.send_buffer != 0) return;
  uint32_t wanted = cc_.cwnd() > kMaxSendBuffer / 2 ? kMaxSendBuffer : cc_.cwnd() * 2;
  if (wanted > snd_buf_) snd_buf_ = wanted;
}

}  // namespace ferry::tcp

// Bytes that the owners of both ends of a connection pass between them without segments (stack/stack.h, CallOp::pass): the connection only
// moves its sequence numbers, modulo 2^32, to where they would be if it had carried and acknowledged them.
//
// Only between connections of one stack, and only while both are settled: no segment is under way whose numbers could be old news.
#include "tcp/connection.h"

namespace ferry::tcp {

bool Connection::is_settled() const {
  return state_ == State::established && !owner_gone_ && !fin_queued_ && !peer_fin_known_ && !read_shut_ && unsent() == 0 &&
         log_.lost_bytes() == 0 && reassembly_.empty() && !urgent_out_ && !urgent_in_;
}

void Connection::acknowledge(Instant now) {
  now_ = now;
  if (unacknowledged_ > 0) send_ack();
  finish();
}

void Connection::passed_out(Instant now, uint64_t bytes, uint32_t window) {
  now_ = now;
  snd_una_ = snd_una_ + static_cast<uint32_t>(bytes);
  snd_nxt_ = snd_una_;
  // What is compared with sequence numbers comes along: far behind it would look ahead.
  snd_small_ = snd_up_ = recover_ = rack_end_ = undo_una_ = dsack_round_ = snd_una_;
  snd_wl2_ = snd_una_;
  snd_wnd_ = window;
  if (window > max_snd_wnd_) max_snd_wnd_ = window;
  bytes_sent_ += bytes;
  bytes_acked_ += bytes;
  if (bytes > 0) last_data_sent_ = last_ack_received_ = now;
  finish();
}

uint32_t Connection::passed_in(Instant now, uint64_t bytes, uint32_t unread) {
  now_ = now;
  uint32_t window = receive_window();
  rcv_nxt_ = rcv_nxt_ + static_cast<uint32_t>(bytes);
  unread_ += unread;
  window = window > unread ? window - unread : 0;
  rcv_adv_ = rcv_nxt_ + window;
  rcv_up_ = last_ack_sent_ = snd_wl1_ = rcv_nxt_;
  bytes_received_ += bytes;
  if (bytes > 0) last_received_ = last_data_received_ = now;
  finish();
  return window;
}

}  // namespace ferry::tcp

// What ss(8) and TCP_INFO want to know of a connection.
#include "tcp/connection.h"
#include "tcp/limits.h"

namespace ferry::tcp {
namespace {

uint32_t us(Duration d) { return static_cast<uint32_t>(d.count_us()); }
uint32_t ms_since(Instant now, Instant then) { return static_cast<uint32_t>((now - then).count_ms()); }

}  // namespace

TcpInfo Connection::info(Instant now) const {
  TcpInfo i;
  auto segments = [&](uint32_t bytes) { return (bytes + mss_ - 1) / mss_; };
  i.state = state_;
  i.recovery = static_cast<uint8_t>(recovery_);
  i.retransmits = retransmits_;
  i.probes = probes_;
  i.backoff = backoff_;
  i.timestamps = ts_enabled_;
  i.sack = sack_enabled_;
  i.scaling = scaling_;
  i.snd_wscale = snd_wscale_;
  i.rcv_wscale = rcv_wscale_;
  i.rto_us = us(rtt_.timeout(backoff_));
  i.ato_us = us(kDelayedAckTime);
  i.rtt_us = us(rtt_.smoothed());
  i.rttvar_us = us(rtt_.variation());
  i.min_rtt_us = us(rtt_.minimum());
  i.snd_mss = mss_;
  i.rcv_mss = rcv_mss_;
  i.advmss = link_mss_;
  i.unacked = segments(in_flight());
  i.sacked = segments(log_.sacked_bytes() + reno_sacked_);
  i.lost = segments(log_.lost_bytes());
  i.retrans = segments(undo_possible_ ? undo_bytes_ : 0);
  i.total_retrans = retransmissions_;
  i.snd_cwnd = cc_.cwnd() / mss_;
  i.snd_ssthresh = cc_.ssthresh() == cc::kNoThreshold ? INT32_MAX : cc_.ssthresh() / mss_;
  i.rcv_ssthresh = i.rcv_space = rcv_buf_;
  i.snd_wnd = snd_wnd_;
  i.rcv_wnd = state_ == State::closed ? 0 : receive_window();
  i.notsent_bytes = unsent();
  i.bytes_acked = bytes_acked_;
  i.bytes_received = bytes_received_;
  i.bytes_sent = bytes_sent_ + bytes_retransmitted_;
  i.bytes_retrans = bytes_retransmitted_;
  i.segs_in = segments_in_;
  i.segs_out = segments_out_;
  i.data_segs_in = data_segments_in_;
  i.data_segs_out = data_segments_out_;
  i.delivery_rate = delivery_rate_;
  i.last_data_sent_ms = ms_since(now, last_data_sent_);
  i.last_data_recv_ms = ms_since(now, last_data_received_);
  i.last_ack_recv_ms = ms_since(now, last_ack_received_);
  i.dsack_dups = duplicate_reports_;
  i.reord_seen = reordering_count_;
  i.rcv_ooopack = out_of_order_;
  return i;
}

}  // namespace ferry::tcp

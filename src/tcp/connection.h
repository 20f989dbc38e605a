// One TCP connection, sans-IO (RFC 9293): segments, timer expiries and user calls come in with the time; segments, placed and
// delivered data and events go out through Host. Single-threaded, deterministic, never blocks.
//
// Owns: sequence space, send and receive queues of I/O descriptors, timers' deadlines. Does not own: payload memory (the
// host's), ports and demultiplexing (stack/), headers below TCP (net/).
//
// Life: construct, then open_active() or open_passive() once; calls; Event::closed; destroy. Inside, three deciders: cc/ owns the
// congestion window, recovery.cc picks what was lost, output.cc packetises. State changes pass set_state() (state.cc).
#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/time.h"
#include "buf/io_desc.h"
#include "tcp/cc/cc.h"
#include "tcp/options.h"
#include "tcp/reassembly.h"
#include "tcp/rtt.h"
#include "tcp/sack.h"
#include "tcp/segment.h"
#include "tcp/send_queue.h"
#include "tcp/sent_log.h"
#include "tcp/state.h"
#include "tcp/time_wait.h"
#include "wire/address.h"

namespace ferry::tcp {

class Connection;
struct Record;

enum class Event : uint32_t {      // bits
  established = 1,                 // handshake done (active or passive)
  readable = 2,                    // delivered data since the last call
  writable = 4,                    // send buffer space freed; see Host::on_completed for the bytes
  peer_closed = 8,                 // FIN delivered in order
  failed = 16,                     // reset, timed out, unreachable: error() says which; the connection is closed
  closed = 32,                     // state CLOSED (or TIME_WAIT handed to the stack): nothing more will happen
  urgent = 64,                     // urgent pointer advanced, or the urgent byte arrived
};

// What a connection needs from outside. Calls come only from inside Connection's functions, synchronously; none may call back
// into the same connection, except that on_events may destroy it (below).
class Host {
 public:
  // Sends a segment now. `payload` parts are valid until the call returns. A refusal is treated as loss.
  virtual void emit(Connection& c, const OutputSegment& segment) = 0;
  // Copies received payload to memory of the connection's owner: all of it, or of more than 64 KiB as much from its beginning as has room in
  // one piece (the rest is then asked for again). Refusal (Errc::no_buffers): the data counts as not received. Each descriptor comes
  // back exactly once and whole, by deliver() or discard().
  virtual Result<buf::IoDesc> place(Connection& c, ByteSpan payload) = 0;
  // Placed data that will never be delivered (connection torn down, duplicate).
  virtual void discard(Connection& c, const buf::IoDesc& d) = 0;
  // Placed data, next in order, becomes the owner's.
  virtual void deliver(Connection& c, const buf::IoDesc& d) = 0;
  // The first `bytes` of output not yet completed are no longer referred to (acknowledged, or dropped at the end).
  virtual void on_completed(Connection& c, uint32_t bytes) = 0;
  // Event bits. Always the very last thing a Connection function does: when they include `closed` the host may destroy the
  // connection inside. `closed` comes on entering TIME_WAIT (state() says so; see Connection::time_wait) and again at its end.
  virtual void on_events(Connection& c, uint32_t events) = 0;
  // next_deadline() is now earlier than the host knows. (It may also have moved later; that is found out when the old deadline
  // passes: on_timer() does nothing when nothing is due. The host re-reads next_deadline() after every on_timer().)
  virtual void on_deadline_changed(Connection& c) = 0;

 protected:
  ~Host() = default;
};

// What a connection is told at birth.
struct Setup {
  wire::Endpoint local, remote;
  SeqNum iss;                     // tcp/isn.h
  uint32_t timestamp_offset = 0;  // of our TSval clock, ms; tcp/isn.h
  uint16_t mss = 1460;            // largest TCP payload of one packet without TCP options: MTU - IP header - 20
  uint32_t max_gso = 0;           // bytes of payload that the link segments, 0: none
  void* context = nullptr;        // the host's; see Connection::context()
  UserOptions options;
};

// As struct tcp_info of Linux; times in microseconds, counts of segments in units of the MSS.
struct TcpInfo {
  State state = State::closed;
  uint8_t recovery = 0;         // tcpi_ca_state: 0 open, 1 disorder, 3 recovery, 4 loss
  uint8_t retransmits = 0;      // consecutive timeouts
  uint8_t probes = 0;           // unanswered zero-window or keepalive probes
  uint8_t backoff = 0;
  bool timestamps = false, sack = false, scaling = false;
  uint8_t snd_wscale = 0, rcv_wscale = 0;
  uint32_t rto_us = 0, ato_us = 0, rtt_us = 0, rttvar_us = 0, min_rtt_us = 0;
  uint32_t snd_mss = 0, rcv_mss = 0, advmss = 0;
  uint32_t unacked = 0, sacked = 0, lost = 0, retrans = 0, total_retrans = 0;  // segments
  uint32_t snd_cwnd = 0, snd_ssthresh = 0;                                     // segments
  uint32_t rcv_ssthresh = 0, rcv_space = 0, snd_wnd = 0, rcv_wnd = 0;          // bytes
  uint32_t notsent_bytes = 0, reordering = 3;
  uint64_t bytes_acked = 0, bytes_received = 0, bytes_sent = 0, bytes_retrans = 0;
  uint32_t segs_in = 0, segs_out = 0, data_segs_in = 0, data_segs_out = 0;     // super-segments count as one
  uint64_t delivery_rate = 0;                                                  // bytes per second
  uint32_t last_data_sent_ms = 0, last_data_recv_ms = 0, last_ack_recv_ms = 0;
  uint32_t dsack_dups = 0, reord_seen = 0, rcv_ooopack = 0;
};

enum class IcmpKind : uint8_t { soft, hard };  // RFC 1122 section 4.2.3.9, RFC 5461

class Connection {
 public:
  Connection(Host& host, const Setup& setup);
  ~Connection();  // frees queues; a connection that is not CLOSED should have been abort()ed first
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // --- opening: exactly one of these, once ---
  // Sends the SYN. Outcome: Event::established, or failed (refused, timed_out, unreachable).
  void open_active(Instant now);
  // `syn` came to a listener and is an acceptable SYN without ACK and RST (RFC 9293 section 3.10.7.2). Sends the SYN+ACK.
  void open_passive(Instant now, const InputSegment& syn);

  // --- inputs ---
  void on_segment(Instant now, const InputSegment& segment);
  void on_timer(Instant now);
  // An ICMP error that quotes a segment of ours beginning at `quoted`; ignored unless that is in flight (RFC 5927).
  // hard: fails the connection while it is being opened; soft: remembered as the reason should it time out.
  void on_icmp_error(Instant now, IcmpKind kind, Errc error, SeqNum quoted);
  // The path takes only `mss` bytes of payload per packet (without options) from now on; what was larger is sent again.
  void on_path_mss(Instant now, uint16_t mss, SeqNum quoted);

  // --- the owner's calls ---
  // Queues all of `data` or nothing. more: MSG_MORE; urgent: the last byte is urgent (MSG_OOB).
  // Errors: invalid (no bytes, or more than 1 GiB), again (beyond send_space(), or no memory for the descriptor), broken_pipe (output shut down), not_connected.
  // Data larger than send_space() is taken if the space is not zero.
  struct SendFlags {
    bool more = false;
    bool urgent = false;
  };
  Status send(Instant now, const buf::IoDesc& data, SendFlags flags);
  // Bytes that send() would take now.
  uint32_t send_space() const;
  uint32_t send_buffer() const { return snd_buf_; }
  uint32_t receive_buffer() const { return rcv_buf_; }
  // The owner has read `bytes` more of what was delivered: may open the window (RFC 9293 section 3.8.6.2.2).
  void consumed(Instant now, uint32_t bytes);
  // How many bytes the owner may read before consumed() should be told: at least 1, at most a quarter of the buffer.
  uint32_t report_after() const;
  void shutdown_write(Instant now);
  // SHUT_RD: what arrives from now on is acknowledged and dropped, as Linux does after close of the reading side.
  void shutdown_read(Instant now);
  // The owner is gone: FIN after queued data; RST when data was left unread or arrives later (RFC 2525 section 2.17).
  void close(Instant now);
  // RST (if synchronised) and CLOSED, without Event::failed.
  void abort(Instant now);

  // --- bytes that both owners pass without us (passed.cc) ---
  // Whether nothing is under way and nothing out of the ordinary is known: both directions open, every byte in order, none unsent.
  bool is_settled() const;
  // Acknowledges now what has been received, if that has not been done.
  void acknowledge(Instant now);
  // The owner has given `bytes` to the peer's owner, who has them and offers `window` from there on. is_settled(), all acknowledged.
  void passed_out(Instant now, uint64_t bytes, uint32_t window);
  // The other side of it: the owner has got `bytes`, of which it has not read the last `unread`. The window to offer is the result.
  uint32_t passed_in(Instant now, uint64_t bytes, uint32_t unread);
  SeqNum snd_nxt() const { return snd_nxt_; }
  SeqNum rcv_nxt() const { return rcv_nxt_; }
  Status set_option(Instant now, Option option, int64_t value);

  // --- questions ---
  Instant next_deadline() const;
  State state() const { return state_; }
  uint8_t consecutive_timeouts() const { return retransmits_; }
  Errc error() const { return error_; }  // why Event::failed
  const wire::Endpoint& local() const { return local_; }
  const wire::Endpoint& remote() const { return remote_; }
  const UserOptions& options() const { return options_; }
  void* context() const { return context_; }
  void set_context(void* context) { context_ = context; }
  uint16_t mss() const { return mss_; }  // payload bytes per wire segment that we send
  uint32_t unread() const { return unread_; }          // delivered, not consumed
  uint32_t unsent() const;                             // queued bytes never sent
  uint32_t outstanding() const { return queue_.bytes(); }  // queued bytes not acknowledged (SIOCOUTQ)
  bool passive() const { return passive_; }
  TcpInfo info(Instant now) const;
  // Stream position (bytes since the first) just after the peer's urgent byte; 0: there was none. The byte stays in the stream.
  uint64_t urgent_mark() const { return urgent_mark_; }
  // 0x100 | the urgent byte once it has arrived, else 0.
  uint32_t urgent_byte() const { return urgent_byte_; }
  // What has to be remembered of a connection in TIME_WAIT; the host may keep this and destroy the connection.
  TimeWait time_wait() const;

  // --- survival (record.h) ---
  // Bytes that save() needs now.
  uint32_t record_size() const;
  // Writes the record; returns its length. Errc::no_buffers when `out` is too small, invalid when not yet or no longer
  // worth saving (SYN_SENT, TIME_WAIT, CLOSED).
  Result<uint32_t> save(MutableByteSpan out) const;
  // Rebuilds a connection into this freshly constructed one (its Setup's endpoints and iss are replaced). Then resume().
  Status restore(Instant now, ByteSpan record);
  // Tells the peer that we are here and sends again what may have been lost.
  void resume(Instant now);

 private:
  enum Timer : uint8_t {
    kRetransmit,   // RFC 6298; also zero-window probes' place is kPersist
    kPersist,      // RFC 9293 3.8.6.1, and the bound of TCP_CORK
    kDelayedAck,   // RFC 9293 3.8.6.3; at once: when the host has handled what came with the last segment
    kReordering,   // RFC 8985 6.2: a run is lost unless it is acknowledged by then
    kTailLoss,     // RFC 8985 7: probe
    kKeepAlive,    // RFC 9293 3.8.4
    kLinger,       // TIME_WAIT, and FIN_WAIT_2 of a connection that its owner closed
    kTimerCount,
  };
  enum class Recovery : uint8_t { open, disorder, recovery = 3, loss = 4 };  // tcpi_ca_state
  enum class Verdict : uint8_t { proceed, done };  // whether a segment has more to say

  // state.cc
  void set_state(State to);
  void fail(Errc error);
  void enter_closed();
  void enter_time_wait();
  void start_fin();
  void linger_in_fin_wait_2();
  void release_memory();
  void raise(Event e) { events_ |= static_cast<uint32_t>(e); }
  void finish();
  void arm(Timer t, Instant at);
  void disarm(Timer t) { timers_[t] = Instant::never(); }
  bool armed(Timer t) const { return !timers_[t].is_never(); }
  bool synchronised() const;
  bool can_send_data() const { return state_ == State::established || state_ == State::close_wait; }
  bool receives_data() const;

  // handshake.cc
  void take_syn_options(const InputSegment& segment);
  void update_mss();
  void send_syn();
  void on_syn_sent(const InputSegment& segment);
  void become_established();

  // input.cc
  void process(const InputSegment& segment);
  bool fast_path(const InputSegment& segment);
  void on_time_wait(const InputSegment& segment);
  bool timestamp_too_old(const InputSegment& segment) const;
  void note_timestamp(const InputSegment& segment);
  Verdict check_sequence(const InputSegment& segment, uint32_t length);
  void check_reset(const InputSegment& segment);
  void challenge();

  // input_ack.cc
  Verdict on_ack(const InputSegment& segment);
  void acknowledge(const InputSegment& segment);
  void take_sack_blocks(const InputSegment& segment, Delivered& delivered);
  void complete(SeqNum una);
  bool update_send_window(const InputSegment& segment);
  void sample_rtt(const InputSegment& segment, const Delivered& delivered, bool advanced);
  void after_fin_acknowledged();

  // recovery.cc
  void note_delivered(const Delivered& delivered);
  void recover(bool advanced, uint32_t acked);
  void detect_losses();
  void on_duplicate_ack();
  void enter_recovery(cc::LossKind kind);
  void leave_recovery();
  void note_duplicate_report(const SackBlock& block);
  void undo_recovery();
  void mark_head_lost();
  uint32_t in_flight() const { return static_cast<uint32_t>(snd_nxt_ - snd_una_); }
  uint32_t pipe() const;
  Duration reordering_window() const;

  // input_data.cc
  void on_data(const InputSegment& segment);
  bool take_in_order(ByteSpan payload);
  void take_out_of_order(SeqNum start, ByteSpan payload);
  void drain_reassembly();
  void deliver(const buf::IoDesc& d);
  void note_urgent(const InputSegment& segment);
  void on_fin(SeqNum fin);
  void note_data();
  bool owes_ack() const;
  void schedule_ack(const InputSegment& segment);
  void measure_receive_rtt(const InputSegment& segment);
  void discard_reassembly();

  // record.cc
  Errc forget_restored(Errc why);

  // window.cc
  uint32_t receive_window() const { return static_cast<uint32_t>(rcv_adv_ - rcv_nxt_); }
  uint32_t free_receive_space() const;
  uint32_t window_step() const;
  uint16_t select_window(bool syn);
  void tune_receive_buffer(uint32_t bytes);
  void tune_send_buffer();

  // output.cc
  void output();
  void resend_lost();
  bool resend_run(uint32_t index, uint32_t limit);
  void send_new();
  uint32_t send_room() const;
  uint32_t next_length(uint32_t unsent);
  bool send_range(SeqNum start, uint32_t length, bool fin);
  bool awaits_company(uint32_t length) const;
  bool may_send_partial() const;
  uint32_t fill_data(OutputSegment& segment, SeqNum start, uint32_t length);
  void fill_header(OutputSegment& segment, SeqNum seq, uint8_t flags);
  void send_ack();
  void send_reset();
  void send_stray_reset(SeqNum seq);
  void send_probe();
  void emit(OutputSegment& segment);

  // timers.cc
  void on_retransmit_timeout();
  void on_persist_timeout();
  void on_keep_alive();
  void on_tail_loss_timeout();
  void restart_retransmit_timer();
  void arm_after_output();
  void arm_keep_alive();
  bool given_up() const;

  // What a connection is and says of itself.
  Host& host_;
  void* context_;
  wire::Endpoint local_, remote_;
  UserOptions options_;
  Instant now_;                      // of the call that is being served
  State state_ = State::closed;
  Errc error_ = Errc::ok;
  Errc soft_error_ = Errc::ok;       // the last ICMP error, for when we time out
  uint32_t events_ = 0;              // to be told at the end of the call
  bool passive_ = false;
  bool owner_gone_ = false;          // close() was called
  bool ts_enabled_ = false, sack_enabled_ = false, scaling_ = false;

  // Sending (RFC 9293 section 3.3.1). The queue begins at stream_una().
  SeqNum iss_, snd_una_, snd_nxt_;
  SeqNum snd_wl1_, snd_wl2_, snd_up_;
  SeqNum snd_small_;                 // end of the last segment below the MSS (Nagle as modified by Minshall)
  uint32_t snd_wnd_ = 0, max_snd_wnd_ = 0;
  uint32_t snd_buf_ = 0;
  uint16_t link_mss_ = 0;            // payload of one packet without options
  uint16_t peer_mss_ = 536;
  uint16_t mss_ = 536;               // payload of one packet with our options
  uint32_t max_gso_ = 0, burst_ = 0; // largest super-segment: a multiple of mss_
  uint8_t snd_wscale_ = 0, rcv_wscale_ = 0;
  bool fin_queued_ = false, fin_sent_ = false;
  bool urgent_out_ = false;          // snd_up_ is ahead
  bool more_ = false;                // the last send said so
  bool send_refused_ = false;        // tell the owner when there is room
  bool persist_override_ = false;    // timer says: send the partial segment
  SendQueue queue_;
  SentLog log_;

  // Receiving.
  SeqNum irs_, rcv_nxt_, rcv_adv_;   // rcv_adv_: right edge of the window we advertised
  SeqNum last_ack_sent_, rcv_up_, peer_fin_;
  uint32_t rcv_buf_ = 0, unread_ = 0;
  uint32_t unacknowledged_ = 0;      // bytes received since our last acknowledgement
  uint16_t rcv_mss_ = 536;           // what the peer's full segments look like
  uint16_t last_window_field_ = 0;
  uint8_t quick_acks_ = 0;
  bool interactive_ = false;         // answers carry our acknowledgements: delay them
  bool small_unacknowledged_ = false;  // since our last acknowledgement a segment came that was not full
  bool ack_now_ = false;
  bool peer_fin_known_ = false, fin_received_ = false;
  bool urgent_in_ = false;           // rcv_up_ is ahead of what has arrived
  bool read_shut_ = false;
  uint32_t urgent_byte_ = 0;
  uint64_t urgent_mark_ = 0;
  Reassembly reassembly_;
  SackBlocks sack_;

  // Timestamps (RFC 7323).
  uint32_t ts_offset_ = 0, ts_recent_ = 0;
  Instant ts_recent_at_;

  // Recovery and congestion.
  cc::Controller cc_;
  RttEstimator rtt_;
  Recovery recovery_ = Recovery::open;
  SeqNum recover_;                   // RFC 6582: snd_nxt when recovery began
  SeqNum rack_end_;                  // RFC 8985: the most recently sent segment that was delivered
  Instant rack_sent_;
  Duration rack_rtt_;
  SeqNum undo_una_;                  // snd_una when the episode began
  uint32_t undo_bytes_ = 0;          // retransmissions of the episode not yet reported as duplicates
  uint32_t undo_ts_ = 0;             // our timestamp at the first retransmission
  uint32_t reno_sacked_ = 0;         // bytes that duplicate ACKs stand for, without SACK
  uint16_t duplicate_acks_ = 0;
  uint8_t reo_wnd_mult_ = 1, reo_wnd_persist_ = 0;
  SeqNum dsack_round_;
  bool reordering_seen_ = false, undo_possible_ = false, window_limited_ = false, tail_probe_out_ = false;
  bool must_resend_ = false;         // the first retransmission of an episode does not wait for the window

  // Timers.
  Instant timers_[kTimerCount];
  Instant announced_ = Instant::never();  // the deadline that the host knows
  Instant stalled_since_ = Instant::never();  // first unanswered retransmission, probe
  Instant last_received_, last_data_received_, last_ack_received_, last_data_sent_, last_challenge_;
  uint8_t backoff_ = 0, retransmits_ = 0, probes_ = 0;

  // Buffer tuning.
  Instant drain_since_;
  uint32_t drained_ = 0;             // bytes that the owner read since then
  uint32_t receive_rtt_us_ = 0;

  // Counters.
  uint64_t bytes_acked_ = 0, bytes_received_ = 0, bytes_sent_ = 0, bytes_retransmitted_ = 0, delivery_rate_ = 0;
  uint32_t delivered_ = 0;           // bytes, modulo 2^32
  Instant delivered_at_;
  uint32_t segments_in_ = 0, segments_out_ = 0, data_segments_in_ = 0, data_segments_out_ = 0;
  uint32_t retransmissions_ = 0, duplicate_reports_ = 0, reordering_count_ = 0, out_of_order_ = 0;
};
static_assert(sizeof(Connection) <= 1024);

}  // namespace ferry::tcp

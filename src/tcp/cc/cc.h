// Congestion control: what happened goes in as values, a congestion window comes out. Integer arithmetic, no pointer to the
// connection, no allocation.
//
// Owns: cwnd and ssthresh (RFC 5681), the choice of algorithm. Does not own: what is lost (recovery.cc), what is sent (output.cc).
// All windows in bytes; all rules in segments of `mss` bytes.
#pragma once

#include <cstdint>

#include "base/time.h"
#include "tcp/cc/cubic.h"
#include "tcp/cc/hystart.h"
#include "tcp/cc/newreno.h"
#include "tcp/cc/window.h"
#include "tcp/segment.h"

namespace ferry::tcp::cc {

enum class Algorithm : uint8_t { newreno = 1, cubic = 2 };

struct AckSample {
  Instant now;
  uint32_t acked = 0;         // bytes newly delivered, cumulatively or by SACK
  SeqNum una, nxt;            // after this acknowledgement
  Duration rtt;               // of this acknowledgement; zero: no sample
  Duration srtt;              // zero: none yet
  bool window_limited = false;  // the window, not the application, held sending back (RFC 7661's concern)
};

enum class LossKind : uint8_t { detected, timeout };

struct LossEvent {
  Instant now;
  LossKind kind = LossKind::detected;
  uint32_t in_flight = 0;     // bytes not acknowledged when the loss was found
};

class Controller {
 public:
  // Initial window of RFC 6928.
  void start(Algorithm algorithm, uint32_t mss);
  // Switches the algorithm; the window stays.
  void select(Algorithm algorithm);
  void set_mss(uint32_t mss) { window_.mss = mss; }
  // For data acknowledged outside of recovery.
  void on_ack(const AckSample& sample);
  // Once per recovery episode; a timeout during recovery counts again.
  void on_loss(const LossEvent& event);
  // The last loss was none: as if on_loss had not been called (RFC 4015, RFC 9438 section 4.9).
  void undo();
  // Nothing was sent for `idle`, longer than the retransmission timeout (RFC 5681 section 4.1).
  void on_idle(Instant now, Duration idle, Duration timeout);
  // The SYN was lost more than once (RFC 6928 section 2).
  void restart_small() { window_.cwnd = window_.mss; }

  uint32_t cwnd() const { return window_.cwnd; }
  uint32_t ssthresh() const { return window_.ssthresh; }
  bool in_slow_start() const { return window_.cwnd < window_.ssthresh; }
  Algorithm algorithm() const { return algorithm_; }

 private:
  Window window_;
  Window before_loss_;
  Algorithm algorithm_ = Algorithm::cubic;
  HyStart hystart_;
  NewReno newreno_;
  Cubic cubic_;
  Cubic cubic_before_loss_;
};

}  // namespace ferry::tcp::cc

// CUBIC (RFC 9438): the window follows a cubic of the time since the last loss; beta = 0.7, C = 0.4. Integers only: time in
// milliseconds, windows in bytes.
//
// Owns: the curve of one connection. Does not own: slow start (hystart.h, cc.cc).
#pragma once

#include <cstdint>

#include "base/time.h"
#include "tcp/cc/window.h"

namespace ferry::tcp::cc {

// floor(cube root of v).
uint32_t integer_cube_root(uint64_t v);

class Cubic {
 public:
  void reset() { *this = Cubic(); }
  // Congestion avoidance (sections 4.2 to 4.5).
  void on_ack(Window& w, Instant now, uint32_t acked, Duration rtt);
  // The new ssthresh; remembers the window for fast convergence (sections 4.6, 4.7). An epoch begins with the next on_ack.
  uint32_t threshold(const Window& w, uint32_t in_flight);
  // Time in which the application sent nothing does not count (section 4.2, "app-limited").
  void shift_epoch(Duration idle);
  uint32_t w_max() const { return w_max_; }
  uint32_t k_ms() const { return k_ms_; }

 private:
  void begin_epoch(const Window& w, Instant now);

  Instant epoch_start_ = Instant::never();  // never: none running
  uint32_t w_max_ = 0;       // bytes
  uint32_t origin_ = 0;      // the plateau of this epoch, bytes
  uint32_t k_ms_ = 0;        // time from the start of the epoch to the plateau
  uint32_t w_est_ = 0;       // Reno-friendly window, bytes (section 4.3)
  uint32_t est_acked_ = 0;   // bytes acknowledged that w_est_ has not yet grown for
  uint32_t acked_ = 0;       // the same for cwnd
  uint32_t cwnd_prior_ = 0;  // before the last loss
};

}  // namespace ferry::tcp::cc

// NewReno's window arithmetic (RFC 5681 section 3.1, RFC 3465 byte counting). Recovery itself is recovery.cc.
#pragma once

#include <cstdint>

#include "tcp/cc/window.h"

namespace ferry::tcp::cc {

class NewReno {
 public:
  void reset() { acked_ = 0; }
  // Congestion avoidance: one MSS per window acknowledged.
  void on_ack(Window& w, uint32_t acked);
  // The new ssthresh: half of what is in flight, at least two segments (RFC 5681 equation 4).
  static uint32_t threshold(const Window& w, uint32_t in_flight);

 private:
  uint32_t acked_ = 0;  // bytes acknowledged since the window last grew
};

}  // namespace ferry::tcp::cc

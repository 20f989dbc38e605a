#include "tcp/cc/newreno.h"

namespace ferry::tcp::cc {

void NewReno::on_ack(Window& w, uint32_t acked) {
  acked_ += acked;
  if (acked_ < w.cwnd) return;
  acked_ -= w.cwnd;
  if (acked_ > w.cwnd) acked_ = w.cwnd;
  w.grow(w.mss);
}

uint32_t NewReno::threshold(const Window& w, uint32_t in_flight) {
  uint32_t half = in_flight / 2;
  return half > 2 * w.mss ? half : 2 * w.mss;
}

}  // namespace ferry::tcp::cc

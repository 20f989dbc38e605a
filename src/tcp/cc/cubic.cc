#include "tcp/cc/cubic.h"

namespace ferry::tcp::cc {
namespace {
uint32_t clamp_window(uint64_t v) { return v > kMaxWindow ? kMaxWindow : static_cast<uint32_t>(v); }
constexpr int64_t kMaxCurveMs = 1 << 17;  // beyond two minutes from the plateau the window bound decides
}  // namespace

uint32_t integer_cube_root(uint64_t v) {
  uint64_t root = 0;
  for (int bit = 20; bit >= 0; --bit) {  // 2^21 cubed is 2^63
    uint64_t candidate = root | uint64_t{1} << bit;
    if (candidate * candidate * candidate <= v) root = candidate;
  }
  return static_cast<uint32_t>(root);
}

void Cubic::begin_epoch(const Window& w, Instant now) {
  epoch_start_ = now;
  acked_ = est_acked_ = 0;
  w_est_ = w.cwnd;
  if (w.cwnd < w_max_) {
    // K = cbrt((W_max - cwnd) / C) seconds with windows in segments: in ms, cbrt(segments * 2.5e9).
    uint64_t below = w_max_ - w.cwnd;
    k_ms_ = integer_cube_root(below * 2'500'000'000ull / w.mss);
    origin_ = w_max_;
  } else {
    k_ms_ = 0;
    origin_ = w.cwnd;
  }
}

void Cubic::on_ack(Window& w, Instant now, uint32_t acked, Duration rtt) {
  if (epoch_start_.is_never()) begin_epoch(w, now);

  // Section 4.2: the target is the curve one round-trip ahead, within [cwnd, 1.5 cwnd].
  int64_t t = (now + rtt - epoch_start_).count_ms() - static_cast<int64_t>(k_ms_);
  bool before = t < 0;
  uint64_t d = static_cast<uint64_t>(before ? -t : t);
  if (d > kMaxCurveMs) d = kMaxCurveMs;
  uint64_t offset = d * d * d / 1000 * w.mss / 1000 * 4 / 10'000;  // mss * 0.4 * (d / 1000)^3
  uint64_t target;
  if (before) target = offset < origin_ ? origin_ - offset : 0;
  else target = origin_ + offset;
  if (target < w.cwnd) target = w.cwnd;
  if (target > uint64_t{w.cwnd} * 3 / 2) target = uint64_t{w.cwnd} * 3 / 2;

  // Section 4.3: what Reno with CUBIC's beta would have; alpha = 3 (1 - beta) / (1 + beta) = 9/17 until it is back at cwnd_prior.
  est_acked_ += acked;
  uint64_t growth = uint64_t{est_acked_} * w.mss / (w_est_ == 0 ? 1 : w_est_);
  if (w_est_ < cwnd_prior_) growth = growth * 9 / 17;
  if (growth > 0) {
    w_est_ = clamp_window(w_est_ + growth);
    est_acked_ = 0;
  }
  if (w_est_ > target) {
    w.cwnd = clamp_window(w_est_ > w.cwnd ? w_est_ : w.cwnd);
    return;
  }
  // Section 4.4: (target - cwnd) / cwnd per segment acknowledged, i.e. acked * (target - cwnd) / cwnd bytes.
  acked_ += acked;
  uint64_t step = uint64_t{acked_} * (target - w.cwnd) / w.cwnd;
  if (step == 0) {
    if (acked_ > w.cwnd) acked_ = w.cwnd;
    return;
  }
  acked_ = 0;
  w.grow(clamp_window(step));
}

uint32_t Cubic::threshold(const Window& w, uint32_t in_flight) {
  epoch_start_ = Instant::never();
  cwnd_prior_ = w.cwnd;
  // Section 4.7: a flow that lost below its last plateau gives room to others.
  w_max_ = w.cwnd < w_max_ ? static_cast<uint32_t>(uint64_t{w.cwnd} * 17 / 20) : w.cwnd;
  // Section 4.6 takes what is in flight, so that a window that the application did not fill is not the measure.
  uint32_t base = in_flight < w.cwnd ? in_flight : w.cwnd;
  uint32_t reduced = static_cast<uint32_t>(uint64_t{base} * 7 / 10);
  return reduced > 2 * w.mss ? reduced : 2 * w.mss;
}

void Cubic::shift_epoch(Duration idle) {
  if (!epoch_start_.is_never()) epoch_start_ = epoch_start_ + idle;
}

}  // namespace ferry::tcp::cc

#include "tcp/cc/cc.h"

namespace ferry::tcp::cc {

void Controller::start(Algorithm algorithm, uint32_t mss) {
  window_ = Window();
  window_.mss = mss;
  window_.cwnd = Window::initial(mss);
  before_loss_ = window_;
  select(algorithm);
}

void Controller::select(Algorithm algorithm) {
  algorithm_ = algorithm;
  hystart_.reset();
  newreno_.reset();
  cubic_.reset();
  cubic_before_loss_.reset();
}

void Controller::on_ack(const AckSample& s) {
  if (s.acked == 0) return;
  if (in_slow_start()) {
    // Only CUBIC leaves slow start by delay (RFC 9438 section 4.10); NewReno stays what RFC 5681 says.
    bool leave = algorithm_ == Algorithm::cubic && hystart_.on_ack(s.una, s.nxt, s.rtt);
    if (s.window_limited) window_.grow(s.acked / hystart_.growth_divisor());
    if (leave) window_.ssthresh = window_.cwnd;
    return;
  }
  if (!s.window_limited) return;
  if (algorithm_ == Algorithm::newreno) newreno_.on_ack(window_, s.acked);
  else cubic_.on_ack(window_, s.now, s.acked, s.srtt);
}

void Controller::on_loss(const LossEvent& event) {
  before_loss_ = window_;
  cubic_before_loss_ = cubic_;
  window_.ssthresh = algorithm_ == Algorithm::newreno ? NewReno::threshold(window_, event.in_flight)
                                                      : cubic_.threshold(window_, event.in_flight);
  newreno_.reset();
  hystart_.reset();
  window_.cwnd = event.kind == LossKind::timeout ? window_.mss : window_.ssthresh;
}

void Controller::undo() {
  if (before_loss_.cwnd > window_.cwnd) window_.cwnd = before_loss_.cwnd;
  if (before_loss_.ssthresh > window_.ssthresh) window_.ssthresh = before_loss_.ssthresh;
  cubic_ = cubic_before_loss_;
}

void Controller::on_idle(Instant now, Duration idle, Duration timeout) {
  (void)now;
  uint32_t restart = Window::initial(window_.mss);  // RW = min(IW, cwnd)
  if (restart > window_.cwnd) restart = window_.cwnd;
  if (window_.ssthresh < window_.cwnd) {
    // RFC 2861's memory of what the path took.
    uint32_t kept = window_.cwnd - window_.cwnd / 4;
    if (kept > window_.ssthresh) window_.ssthresh = kept;
  }
  for (Duration t = timeout; t < idle && window_.cwnd > restart; t += timeout) window_.cwnd /= 2;
  if (window_.cwnd < restart) window_.cwnd = restart;
  cubic_.shift_epoch(idle);
}

}  // namespace ferry::tcp::cc

#include "support/tcp_path.h"

namespace ferry::tcp::testing {

void TcpPath::put(int to, const Wire& w) {
  ++packets_;
  if (rng_.below(1000) < config_.loss_permille) {
    ++lost_;
    return;
  }
  Instant at = now_ + config_.delay;
  if (rng_.below(1000) < config_.reorder_permille) {
    at = at + Duration::ns(rng_.below(static_cast<uint32_t>(config_.reorder_delay.count_ns())));
  }
  in_flight_.emplace(at, std::make_pair(to, w));
  if (rng_.below(1000) < config_.duplicate_permille) {
    in_flight_.emplace(at + Duration::us(rng_.below(1000)), std::make_pair(to, w));
  }
}

void TcpPath::collect() {
  for (int i = 0; i < 2; ++i) {
    while (!ends_[i]->sent.empty()) {
      Wire big = std::move(ends_[i]->sent.front());
      ends_[i]->sent.pop_front();
      for (const Wire& w : segmented(big)) put(1 - i, w);
    }
  }
}

void TcpPath::arrive(int to, std::vector<Wire> packets) {
  for (const Wire& w : packets) {
    TcpEndpoint& e = *ends_[to];
    if (to == 1 && listening && e->state() == State::closed && w.has(kSyn) && !w.has(kAck) && !e.saw(Event::closed)) {
      e->open_passive(now_, w.input());
    } else {
      e.receive(now_, w);
    }
  }
}

bool TcpPath::step(Instant limit) {
  collect();
  Instant next = in_flight_.empty() ? Instant::never() : in_flight_.begin()->first;
  for (TcpEndpoint* e : ends_) next = earlier(next, (*e)->next_deadline());
  if (next > limit) return false;
  if (next > now_) now_ = next;
  std::vector<Wire> batch[2];
  while (!in_flight_.empty() && in_flight_.begin()->first <= now_) {
    auto [to, w] = std::move(in_flight_.begin()->second);
    in_flight_.erase(in_flight_.begin());
    std::vector<Wire>& b = batch[to];
    if (!config_.gro || b.empty() || !merge(b.back(), w)) b.push_back(std::move(w));
  }
  for (int i = 0; i < 2; ++i) {
    arrive(i, std::move(batch[i]));
    if ((*ends_[i])->next_deadline() <= now_) (*ends_[i])->on_timer(now_);
  }
  collect();
  return true;
}

}  // namespace ferry::tcp::testing

// Probing, announcing and defending our address.
#include "net/address_guard.h"

namespace ferry::net {

void AddressGuard::start(Instant now, bool probe) {
  state_ = probe ? State::probing : State::announcing;
  sent_ = 0;
  deadline_ = now;
}

AddressGuard::Action AddressGuard::next(Instant now, Rng& rng, bool& became_usable) {
  became_usable = false;
  if (now < deadline_) return Action::none;
  if (state_ == State::probing && sent_ < kProbes) {
    ++sent_;
    const uint32_t spread = static_cast<uint32_t>((kProbeMax - kProbeMin).count_us());
    deadline_ = now + (sent_ == kProbes ? kAnnounceWait : kProbeMin + Duration::us(rng.below(spread)));
    return Action::probe;
  }
  if (state_ == State::probing) {
    state_ = State::announcing;
    sent_ = 0;
    became_usable = true;
  }
  if (state_ != State::announcing) {
    deadline_ = Instant::never();
    return Action::none;
  }
  ++sent_;
  if (sent_ < kAnnouncements) {
    deadline_ = now + kAnnounceInterval;
  } else {
    state_ = State::defended;
    deadline_ = Instant::never();
  }
  return Action::announce;
}

AddressGuard::Verdict AddressGuard::on_conflict(Instant now) {
  if (state_ == State::probing) {
    state_ = State::lost;
    deadline_ = Instant::never();
    return Verdict::lost;
  }
  if (!usable() || (has_defended_ && now < defended_at_ + kDefendInterval)) return Verdict::none;
  has_defended_ = true;
  defended_at_ = now;
  return Verdict::defend;
}

}  // namespace ferry::net

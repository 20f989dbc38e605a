// Our own address on a link: probing before use, announcing, defending (RFC 5227).
//
//   idle --start(probe)--> probing --silence--> announcing --> defended
//     |                        |                    ^
//     +--start(no probe)-------|--------------------+
//                              +--conflict--> lost
//
// Owns: that state machine and its times. Does not own: ARP packets (arp.cc sends what next() asks for).
// Deviation: the intervals of RFC 5227 section 1.1 (1-2 s) are shortened to 100-200 ms, so that a server starts in half a second;
// a server keeps its address in later conflicts and defends it, at most every 10 s (section 2.4 (c)).
#pragma once

#include <cstdint>

#include "base/rng.h"
#include "base/time.h"

namespace ferry::net {

class AddressGuard {
 public:
  static constexpr uint8_t kProbes = 3;         // PROBE_NUM
  static constexpr uint8_t kAnnouncements = 2;  // ANNOUNCE_NUM
  static constexpr Duration kProbeMin = Duration::ms(100), kProbeMax = Duration::ms(200);
  static constexpr Duration kAnnounceWait = Duration::ms(200);
  static constexpr Duration kAnnounceInterval = Duration::seconds(2);
  static constexpr Duration kDefendInterval = Duration::seconds(10);

  enum class State : uint8_t { idle, probing, announcing, defended, lost };
  enum class Action : uint8_t { none, probe, announce };
  enum class Verdict : uint8_t { none, lost, defend };

  void start(Instant now, bool probe);
  State state() const { return state_; }
  // Whether the address may be used: as a source, and in answers.
  bool usable() const { return state_ == State::announcing || state_ == State::defended; }
  Instant deadline() const { return deadline_; }
  // What is due now. `became_usable` is set when this ends probing.
  Action next(Instant now, Rng& rng, bool& became_usable);
  // Somebody else uses (or, while we probe, probes for) our address. defend: send an announcement.
  Verdict on_conflict(Instant now);

 private:
  State state_ = State::idle;
  uint8_t sent_ = 0;
  Instant deadline_ = Instant::never();
  Instant defended_at_;
  bool has_defended_ = false;
};

}  // namespace ferry::net

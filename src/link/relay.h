// The engine of `ferry relay IF1 IF2`: everything that arrives on one interface leaves on the other, cut to frames of wire size and
// then impaired, so that any two stacks can be compared over the same bad path (the kernel's netem is not everywhere).
//
// Single-threaded. Frames with a VLAN tag are not carried.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "link/decorators/impair.h"
#include "link/outcome.h"

namespace ferry::link {

struct RelayOptions {
  Impairment forth;   // frames from the first to the second
  Impairment back;    // from the second to the first
  uint64_t seed = 1;
  // pcapng files of what really passes each interface, impairments included; empty: none. Only Relay::open looks at these.
  std::string capture_first{}, capture_second{};
};

struct RelayCounters {
  Counters first, second;           // of the two links; tx is after segmentation and impairment
  ImpairCounters forth, back;
};

class Relay {
 public:
  // Opens both interfaces ("packet:" in front is optional) promiscuously.
  static Outcome<std::unique_ptr<Relay>> open(const std::string& first, const std::string& second, const RelayOptions& options);
  // Over two links that take any frame, for tests.
  static std::unique_ptr<Relay> over(std::unique_ptr<Link> first, std::unique_ptr<Link> second, const RelayOptions& options);
  virtual ~Relay() = default;

  // Forwards what is there and what has become due by `now`. Returns whether it did anything.
  virtual bool turn(Instant now) = 0;
  virtual Instant next_deadline() const = 0;
  // Runs until `stop` is set (by a signal handler; a signal interrupts the wait). `on_tick` is called about every `tick`, if given.
  virtual void run(const std::atomic<bool>& stop, Duration tick, const std::function<void(const RelayCounters&)>& on_tick) = 0;
  virtual RelayCounters counters() const = 0;
};

}  // namespace ferry::link

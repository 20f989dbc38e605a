// Two TcpEndpoints over a seeded bad path in virtual time: delay, rate-free, with loss, reordering and duplication of the packets
// that super-segments become. Deterministic: one seed, one run.
#pragma once

#include <map>

#include "base/rng.h"
#include "support/tcp_endpoint.h"

namespace ferry::tcp::testing {

struct PathConfig {
  uint64_t seed = 1;
  uint32_t loss_permille = 0;
  uint32_t reorder_permille = 0;      // delayed by up to reorder_delay more
  uint32_t duplicate_permille = 0;
  Duration delay = Duration::us(500);  // one way
  Duration reorder_delay = Duration::ms(2);
  bool gro = true;
  uint32_t queue_packets = 0;         // drop-tail per round of delay; 0: unlimited
};

class TcpPath {
 public:
  TcpPath(TcpEndpoint& a, TcpEndpoint& b, const PathConfig& config) : ends_{&a, &b}, config_(config), rng_(config.seed) {}

  Instant now() const { return now_; }
  void set_now(Instant t) { now_ = t; }
  // Takes what the endpoints have sent, onto the path.
  void collect();
  // Goes to the next event (arrival or deadline) at or before `limit`. False: there is none.
  bool step(Instant limit);
  // Until nothing happens before `limit`.
  void run(Instant limit) {
    while (step(limit)) {
    }
  }
  uint64_t packets() const { return packets_; }
  uint64_t lost() const { return lost_; }
  // A passive side that has no connection yet gets its SYN here.
  bool listening = false;

 private:
  void put(int to, const Wire& w);
  void arrive(int to, std::vector<Wire> packets);

  TcpEndpoint* ends_[2];
  PathConfig config_;
  Rng rng_;
  Instant now_;
  std::multimap<Instant, std::pair<int, Wire>> in_flight_;
  uint64_t packets_ = 0, lost_ = 0;
};

}  // namespace ferry::tcp::testing

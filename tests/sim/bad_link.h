// One direction of a bad link: frames are lost, doubled, held back, damaged; all from a seed. Decides when what arrives; the
// simulation keeps the queue.
#pragma once

#include <cstdint>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "buf/packet.h"

namespace ferry::sim {

// Chances are per 10,000.
struct LinkQuality {
  uint32_t loss = 0, duplicate = 0, reorder = 0, corrupt = 0;
  Duration delay, jitter, held_back;  // base, up to so much more, extra for reordered frames
  uint64_t bits_per_second = 0;       // 0: no limit
};

struct Arrival {
  Instant at;
  std::vector<std::byte> bytes;
  buf::Offload offload;
};

class BadLink {
 public:
  BadLink(const LinkQuality& quality, uint64_t seed) : quality_(quality), rng_(seed) {}
  // Zero, one or two arrivals of the frame that is sent now.
  std::vector<Arrival> carry(Instant now, const std::vector<std::byte>& frame, const buf::Offload& offload);
  // From now on nothing goes wrong (to let a run end).
  void repair() { quality_.loss = quality_.corrupt = quality_.duplicate = quality_.reorder = 0; }

 private:
  bool chance(uint32_t per_10000) { return per_10000 > 0 && rng_.below(10000) < per_10000; }
  LinkQuality quality_;
  Rng rng_;
  Instant free_at_;
};

}  // namespace ferry::sim

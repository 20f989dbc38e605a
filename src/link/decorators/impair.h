// A bad path: a link around a link that loses, duplicates, reorders, delays, corrupts and slows frames down, from a seed. Without
// impairments it passes everything through. The same seed, frames and times give the same result.
//
// As on a wire, it acts on frames of MTU size: super-frames are cut first and checksums finished (link/segment.h), so that a
// corrupted byte is for the receiver to find. Time comes from advance() only.
#pragma once

#include <memory>

#include "link/link.h"

namespace ferry::link {

// For one direction. Probabilities are in millionths, per frame.
struct Impairment {
  uint32_t loss = 0;
  uint32_t duplicate = 0;
  uint32_t corrupt = 0;                        // flips one bit behind the Ethernet header of an IP frame
  uint32_t reorder = 0;                        // holds a frame back by reorder_hold, so that later ones overtake it
  Duration reorder_hold = Duration::ms(1);
  Duration delay = Duration::zero();
  Duration jitter = Duration::zero();          // uniform extra delay; reorders by itself
  uint64_t rate_bits = 0;                      // of the bottleneck, bits per second; 0: none
  uint32_t queue_bytes = 1u << 20;             // that may wait before the bottleneck; more is dropped

  bool any() const {
    return loss != 0 || duplicate != 0 || corrupt != 0 || reorder != 0 || delay != Duration::zero() || jitter != Duration::zero() ||
           rate_bits != 0;
  }
};

struct ImpairCounters {
  uint64_t lost = 0, duplicated = 0, corrupted = 0, reordered = 0, overflowed = 0, malformed = 0;
};

struct ImpairOptions {
  Impairment transmit, receive;
  uint64_t seed = 1;
  bool always_segment = false;  // cut super-frames even in a direction without impairments
};

class Impair : public Link {
 public:
  virtual const ImpairCounters& transmit_counters() const = 0;
  virtual const ImpairCounters& receive_counters() const = 0;
};

std::unique_ptr<Impair> make_impair(std::unique_ptr<Link> inner, const ImpairOptions& options);

}  // namespace ferry::link

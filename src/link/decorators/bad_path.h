// One direction of an impaired link, without the link: frames go in at a time and come out, perhaps, at a later one. Pure: the
// seed, the frames and the times decide everything.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "base/rng.h"
#include "link/decorators/impair.h"
#include "link/segment.h"

namespace ferry::link {

class BadPath final : private SegmentSink {
 public:
  BadPath(const Impairment& impairment, uint64_t seed);

  // Cuts `frame` to wire size and lets fate act on each piece.
  void offer(Instant now, const buf::Frame& frame);
  // When the next frame comes out; never() when nothing is inside.
  Instant next_due() const { return waiting_.empty() ? Instant::never() : Instant::from_ns(waiting_.begin()->first.due_ns); }
  // The next frame if it is due by `now`, or nullptr. It stays inside until drop_front().
  const std::vector<std::byte>* front(Instant now) const;
  void drop_front();
  const ImpairCounters& counters() const { return counters_; }

 private:
  struct Key {
    int64_t due_ns;
    uint64_t serial;  // frames due at the same time keep their order
    auto operator<=>(const Key&) const = default;
  };

  void on_segment(ByteSpan bytes) override;
  bool happens(uint32_t millionths) { return millionths != 0 && rng_.below(1'000'000) < millionths; }
  void enter(ByteSpan bytes);
  bool queue_is_full(size_t more) const;
  void corrupt(std::vector<std::byte>& bytes);

  Impairment impairment_;
  Rng rng_;
  ImpairCounters counters_;
  Instant now_;
  Instant bottleneck_free_;       // when the frames before have crossed the bottleneck
  uint64_t waiting_bytes_ = 0;
  uint64_t serial_ = 0;
  std::map<Key, std::vector<std::byte>> waiting_;
  std::vector<std::byte> scratch_;
};

}  // namespace ferry::link

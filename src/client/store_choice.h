// How a writer stores large pieces in memory that a reader on another processor copies from: plainly, or by stores that go past the caches.
//
// Where the caches of the two are far apart, a plain store first fetches its line back from where the reader had it, and the writer is the slower of the
// two by far. Streaming stores need not; the reader then copies from memory. Where the caches are near, plain stores are the better ones. The writer's
// own time tells (ticks of the time stamp counter a byte, docs/performance.md):
//
//               plain: writer   reader        streaming: writer   reader
//   near              0.06       0.07                    -          -
//   far           0.3 – 0.5   0.07 – 0.17              0.08       0.2
//
// One per passage, used by one thread at a time.
#pragma once

#include <cstdint>

namespace ferry::client {

class StoreChoice {
 public:
  // Whether the next large piece is to be streamed. While that is so, a few in a row are not, now and then, to see whether it is right still.
  bool streams() { return score_ >= kTurn && ++turn_ % kRound >= kLooks; }
  // A large piece was stored plainly.
  void stored(uint64_t ticks, uint32_t bytes) {
    const bool far = ticks * kTicksPer > bytes;
    if (far && score_ < kMost) ++score_;
    if (!far && score_ > 0) --score_;
  }

 private:
  static constexpr uint32_t kTicksPer = 5;  // more than a tick for so many bytes is far
  static constexpr uint32_t kTurn = 8, kMost = 16, kRound = 64, kLooks = 4;  // pieces
  uint32_t score_ = 0, turn_ = 0;
};

}  // namespace ferry::client

// Repeating a recorded run (recording.h): a fresh stack gets the recorded inputs and answers, and what it does is compared with what
// was recorded. The file is not trusted: whatever is in it, the outcome is a report or an error.
#pragma once

#include <cstdint>

#include "stack/recording.h"

namespace ferry::stack {

struct ReplayReport {
  uint64_t inputs = 0;        // inputs replayed
  uint64_t outputs = 0;       // calls to the host compared
  uint64_t frames_out = 0;    // of these, frames transmitted
  bool identical = true;
  bool truncated = false;     // the recording ends within an entry or an input (the recorder was killed)
  // If not identical: the entry (counted from 0) that differs, and what the stack did there.
  uint64_t differs_at = 0;
  EntryKind recorded{}, replayed{};  // kinds; equal when the contents differ
  Instant last;                      // time of the last input
};

// Sees the frames that the replayed stack transmits (to write a capture file). May be nullptr.
class ReplayObserver {
 public:
  virtual void on_transmit(Instant now, LinkIndex link, const buf::Packet& packet, const buf::Memory& memory) = 0;

 protected:
  ~ReplayObserver() = default;
};

// Stops at the first difference. Errc::malformed, version_mismatch, invalid (its Config), no_memory.
Result<ReplayReport> replay(ByteSpan recording, ReplayObserver* observer = nullptr);

}  // namespace ferry::stack

// A link around a link that can record what passes: nothing until start(), so that a capture can begin on a running server.
// Received frames are recorded before the stack sees them, sent ones once the link has taken them. Time comes from advance().
#pragma once

#include <memory>

#include "link/capture_filter.h"
#include "link/link.h"
#include "link/pcapng.h"

namespace ferry::link {

class Capture : public Link {
 public:
  // Replaces a recording that runs.
  virtual void start(std::unique_ptr<PcapngWriter> writer, CaptureFilter filter) = 0;
  // Writes out what is buffered and ends the recording. Returns how many frames it has.
  virtual uint64_t stop() = 0;
  // Whether a recording runs; one that is full or failed has ended by itself.
  virtual bool recording() const = 0;
  // Frames that did not cross the wire but belong into the picture: two clients of one host.
  virtual void record(Direction direction, ByteSpan frame) = 0;
};

std::unique_ptr<Capture> make_capture(std::unique_ptr<Link> inner);

}  // namespace ferry::link

#include "tcp/reset.h"

namespace ferry::tcp {

bool make_reset(const InputSegment& segment, OutputSegment& reset) {
  if ((segment.flags & kRst) != 0) return false;
  if ((segment.flags & kAck) != 0) {
    reset.seq = segment.ack;
    reset.flags = kRst;
    return true;
  }
  uint32_t length = static_cast<uint32_t>(segment.payload.size()) + ((segment.flags & kSyn) != 0) +
                    ((segment.flags & kFin) != 0);
  reset.seq = SeqNum(0);
  reset.ack = segment.seq + length;
  reset.flags = kRst | kAck;
  return true;
}

}  // namespace ferry::tcp

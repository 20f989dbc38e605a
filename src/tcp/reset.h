// The answer to a segment for which there is no connection (RFC 9293 section 3.10.7.1).
#pragma once

#include "tcp/segment.h"

namespace ferry::tcp {

// Fills `reset` (from our side to the sender of `segment`); false when none is to be sent, because the segment is a reset itself.
bool make_reset(const InputSegment& segment, OutputSegment& reset);

}  // namespace ferry::tcp

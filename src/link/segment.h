// Does in software what a network card would: cuts a super-frame into the frames that go on a wire and finishes checksums.
// TCP over IPv4 and IPv6 (RFC 9293; as TSO: sequence numbers advance, FIN and PSH on the last, CWR on the first: RFC 3168
// section 6.1.2) and UDP segmentation (one datagram per piece). Stateless; nothing is allocated.
//
// Does not own: IP fragmentation (stacks do that themselves), VLAN tags, IPv6 extension headers (frames with them are refused).
#pragma once

#include <cstdint>

#include "buf/packet.h"

namespace ferry::link {

// Takes the finished frames in order; `bytes` is valid during the call only.
class SegmentSink {
 public:
  virtual void on_segment(ByteSpan bytes) = 0;

 protected:
  ~SegmentSink() = default;
};

// Room that cut_segments needs: one frame of headers plus any gso_size.
inline constexpr size_t kSegmentScratch = buf::kMaxIpPacket + 128;

// Passes `frame` to `sink` as frames without any offload left, built in `scratch` (at least kSegmentScratch bytes; a frame that needs
// no work is passed as it is). Returns how many; 0: the frame is malformed or of a kind that cannot be cut, nothing was passed.
uint32_t cut_segments(const buf::Frame& frame, MutableByteSpan scratch, SegmentSink& sink);

// Finishes a partial checksum in place. False: the fields point outside the frame.
bool finish_checksum(MutableByteSpan frame, const buf::Offload& offload);

}  // namespace ferry::link

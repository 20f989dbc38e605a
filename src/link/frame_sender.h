// The sending half of a packet link. Large frames go to the kernel at once, gathered from where their bytes are; small ones
// (acknowledgements, requests, MTU-sized frames) are copied into a small stage and leave together by one sendmmsg(2) at flush(),
// which makes them 10–25 % cheaper (docs/performance/links.md).
#pragma once

#include <sys/socket.h>

#include <array>
#include <memory>
#include <vector>

#include "link/gather.h"
#include "link/link.h"
#include "link/segment.h"

namespace ferry::link {

class FrameSender final : private SegmentSink {
 public:
  static constexpr size_t kStagedFrames = 32;
  static constexpr size_t kStagedBytes = 2048;  // of one staged frame, with the virtio header

  // `fd`: a bound packet socket with PACKET_VNET_HDR, not owned. Counts into the tx fields of `counters`.
  FrameSender(int fd, uint32_t mtu, Counters& counters);
  ~FrameSender() = default;

  Status send(const buf::Packet& packet, const buf::Memory& memory);  // as Link::send
  void flush();
  bool wants_write() const { return wants_write_; }

 private:
  struct Stage {
    VnetHeader vnet;
    std::array<std::byte, kStagedBytes - sizeof(VnetHeader)> frame;
  };
  static_assert(sizeof(Stage) == kStagedBytes);

  // What became of a frame that sendmsg refused with `error`: Errc::again, or counted and dropped.
  Errc refused(int error);
  void stage(const Gathered& g);
  Status send_now(Gathered& g, const buf::Offload& offload);
  Status send_cut(const Gathered& g, const buf::Offload& offload);
  void on_segment(ByteSpan bytes) override;

  int fd_;
  uint32_t mtu_;
  Counters& counters_;
  bool wants_write_ = false;
  size_t first_ = 0, end_ = 0;  // staged frames not yet sent: [first_, end_)
  std::vector<Stage> stages_;
  std::array<iovec, kStagedFrames> pieces_;
  std::array<mmsghdr, kStagedFrames> messages_;
  // For super-frames of a kind that this kernel does not segment; allocated when the first one is met.
  std::vector<std::byte> cut_scratch_;
  std::vector<std::byte> cut_frame_;
};

}  // namespace ferry::link

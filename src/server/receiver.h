// Frames on their way from a link to the stack: captured, joined where nobody has done it yet (link/join.h), their payload put into
// memory of the client that owns the connection, once, by whoever has it.
//
//   large frame:  link --place()--> room in the client's pool --> link receives into it --on_placed()--> stack
//   small ones:   link --on_lasting_frame()--> joiner --on_joined()--> copied from the frames into room in the pool --> stack
//   any other:    link --on_frame()--> stack, which asks Host::place()
//
// Owns: what is held to be joined, between the beginning and the end of receive(). The stack gets a super-segment as it would from a
// link with GRO, so a recording holds it whole.
#pragma once

#include "link/join.h"
#include "server/capture.h"
#include "server/host.h"

namespace ferry::server {

class Receiver final : public link::PayloadPlacer, private link::FrameSink, private link::JoinedSink {
 public:
  Receiver(Context& context, Host& host, Sockets& sockets, Captures& captures)
      : ctx_(context), host_(host), sockets_(sockets), captures_(captures), joiner_(*this) {}
  void set_stack(stack::Stack* stack) { stack_ = stack; }

  // Up to `budget` frames of the link go to the stack. Returns how many came.
  uint32_t receive(link::Link& link, stack::LinkIndex index, uint32_t budget);
  // Bytes of segments that were read for their checksum before they were joined.
  uint64_t bytes_summed() const { return joiner_.bytes_summed(); }

  // --- link::PayloadPlacer, of the link that receives now ---
  bool place(const buf::Frame& head, uint32_t frame_length, Place& place) override;
  void on_placed(const buf::Frame& headers, uint32_t frame_length) override;
  void on_abandoned() override { host_.early().finish(); }

 private:
  void on_frame(const buf::Frame& frame) override;
  void on_lasting_frame(const buf::Frame& frame) override;
  void on_batch_end() override { joiner_.flush(); }
  void on_single(const buf::Frame& frame) override;
  void on_joined(const link::Joined& joined) override;
  bool pass_on(const buf::Frame& frame);
  Socket* owner_of(const buf::Frame& head, uint32_t frame_length, stack::PayloadOwner& who);

  Context& ctx_;
  Host& host_;
  Sockets& sockets_;
  Captures& captures_;
  stack::Stack* stack_ = nullptr;
  stack::LinkIndex index_ = 0;
  link::SegmentJoiner joiner_;
};

}  // namespace ferry::server

// `ferry capture`: every frame that passes the links, as a pcapng stream (link/pcapng_blocks.h) on a pipe that the server
// made, so that a reader can neither block the server nor slow it: what does not fit is dropped and counted.
// While nobody captures, the data path pays one test of a pointer.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "link/pcapng_blocks.h"
#include "server/host.h"

namespace ferry::server {

class CaptureStream final : public PollHandler {
 public:
  CaptureStream(Context& context, UniqueFd write_end, const std::string& interface_name);
  ~CaptureStream();

  void record(link::Direction direction, std::span<const ByteSpan> pieces);
  // Writes what waits, as far as the reader takes it.
  void flush();
  bool closed() const { return closed_; }
  void on_poll(uint32_t events) override;

 private:
  static constexpr size_t kBufferBytes = 4u << 20;

  Context& ctx_;
  UniqueFd fd_;
  std::vector<std::byte> buffer_;
  size_t written_ = 0;  // of buffer_
  bool closed_ = false, stalled_ = false;
};

// All captures that run; the host's tap while there is one.
class Captures final : public FrameTap {
 public:
  Captures(Context& context, Host& host) : ctx_(context), host_(host) {}

  // Begins a capture. Returns the read end for the requester; invalid when there are too many captures or no descriptors.
  UniqueFd start(const std::string& interface_name);
  void on_received(stack::LinkIndex link, const buf::Frame& frame) override;
  void on_sent(stack::LinkIndex link, const buf::Packet& packet, const buf::Memory& memory) override;
  // At the end of a turn: writes, and forgets captures whose readers are gone.
  void flush();
  bool active() const { return !streams_.empty() || shows_; }
  // In another engine than the first, which has the streams: whether to show it every frame.
  void show_to_first(bool on);
  // The first: a frame of another engine.
  void record(link::Direction direction, std::span<const ByteSpan> pieces);

 private:
  static constexpr size_t kMaxCaptures = 8;
  Context& ctx_;
  Host& host_;
  void show(link::Direction direction, std::span<const ByteSpan> pieces);
  std::vector<std::unique_ptr<CaptureStream>> streams_;
  bool shows_ = false;
};

}  // namespace ferry::server

// Cuts a pcapng byte stream (draft-ietf-opsawg-pcapng) into whole blocks, as they come through a pipe. Reads only what
// it needs of the format: block framing, and the packet of Enhanced Packet Blocks. Whole files are link/pcapng.h's.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace ferry::cli {

// Collects bytes and hands on whole blocks.
class PcapngStream {
 public:
  static constexpr uint32_t kMaxBlock = 1 << 20;  // bytes; a frame is at most 64 KiB and some

  // Calls `on_block` for every block that is complete now. False: this is no pcapng stream (nothing more is read of
  // it).
  bool feed(std::span<const uint8_t> bytes, const std::function<void(std::span<const uint8_t>)>& on_block);

 private:
  std::vector<uint8_t> pending_;
};

// The packet of an Enhanced Packet Block; empty for every other block and for a malformed one.
struct CapturedPacket {
  std::span<const uint8_t> bytes;  // as many as were captured
  uint32_t length = 0;             // on the wire
};
CapturedPacket packet_of(std::span<const uint8_t> block);
bool is_packet_block(std::span<const uint8_t> block);

}  // namespace ferry::cli

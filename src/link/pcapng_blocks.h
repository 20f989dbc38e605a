// Blocks of pcapng (draft-ietf-opsawg-pcapng) in memory: appended to a buffer by who writes, cut out of a stream by who reads. All
// knowledge of the format is here; where bytes go to and come from is the caller's (pcapng.h for files).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"

namespace ferry::link {

enum class Direction : uint8_t { unknown = 0, inbound = 1, outbound = 2 };  // as in epb_flags

namespace pcapng {

// A section header and the description of its one interface: Ethernet, timestamps in nanoseconds (sections 4.1, 4.2).
void append_header(std::vector<std::byte>& out, std::string_view application, std::string_view interface_name, uint32_t snaplen);
// The bytes that append_packet adds for a frame of which `kept` bytes are kept.
size_t packet_block_bytes(size_t kept);
// An enhanced packet block (section 4.3) of a frame given in pieces, cut at `snaplen`. `when` counts from 1970.
void append_packet(std::vector<std::byte>& out, Instant when, Direction direction, std::span<const ByteSpan> pieces, uint32_t snaplen);

}  // namespace pcapng

struct CapturedFrame {
  Instant when;                  // since 1970, as in the file
  Direction direction = Direction::unknown;
  uint32_t original_length = 0;  // more than bytes.size() when cut by the snaplen
  ByteSpan bytes;                // until the next call of whoever gave it
};

// Cuts a stream of either byte order into whole blocks, however its bytes come, and finds the frames in enhanced and simple packet
// blocks. Trusts nothing; a stream that is not pcapng ends with its first wrong block.
class PcapngDecoder {
 public:
  void feed(ByteSpan bytes);
  // The next whole block as it stands in the stream, valid until the next call. Empty: more bytes are needed, or there is an error.
  ByteSpan next_block();
  // The frame of the block just given; nullptr: it has none.
  const CapturedFrame* frame() const { return has_frame_ ? &frame_ : nullptr; }
  const std::string& error() const { return error_; }
  // Whether bytes of a block that is not whole yet are held.
  bool within_block() const { return at_ < pending_.size(); }

 private:
  struct Interface {
    uint64_t units_per_second = 1'000'000;
    uint32_t link_type = 0;
    uint32_t snaplen = 0;
  };
  bool fail(const char* what);
  bool cut(ByteSpan rest);
  bool on_section_header();
  bool on_interface();
  bool on_packet(bool simple);
  template <typename Visit>
  bool for_each_option(size_t at, Visit&& visit);
  uint32_t u32(size_t at) const;
  uint16_t u16(size_t at) const;

  std::vector<std::byte> pending_;
  size_t at_ = 0;    // of pending_: where the next block begins
  ByteSpan block_;   // whole: type, length, body, length again
  bool big_endian_ = false, in_section_ = false, has_frame_ = false;
  std::vector<Interface> interfaces_;
  CapturedFrame frame_;
  std::string error_;
};

}  // namespace ferry::link

// Cuts a pcapng byte stream (draft-ietf-opsawg-pcapng) into whole blocks, and decides which packets pass a pcap-filter(7)
// expression. Reads only what it needs of the format: block framing, and the packet bytes of Enhanced Packet Blocks.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

struct bpf_program;

namespace ferry::cli {

// Collects bytes and hands on whole blocks.
class PcapngStream {
 public:
  static constexpr uint32_t kMaxBlock = 1 << 20;  // bytes; a frame is at most 64 KiB and some

  // Calls `on_block` for every block that is complete now. False: this is no pcapng stream (nothing more is read of it).
  bool feed(std::span<const uint8_t> bytes, const std::function<void(std::span<const uint8_t>)>& on_block);

 private:
  std::vector<uint8_t> pending_;
};

// The packet of an Enhanced Packet Block as it was captured; empty for every other block and for a malformed one.
std::span<const uint8_t> packet_of(std::span<const uint8_t> block);
bool is_packet_block(std::span<const uint8_t> block);

// A compiled pcap-filter(7) expression for Ethernet frames.
class PacketFilter {
 public:
  // `expression` may be empty: everything passes. Throws Failure(kUsage) with libpcap's sentence.
  explicit PacketFilter(const std::string& expression);
  ~PacketFilter();
  PacketFilter(const PacketFilter&) = delete;
  PacketFilter& operator=(const PacketFilter&) = delete;

  bool passes(std::span<const uint8_t> frame) const;

 private:
  bpf_program* program_ = nullptr;
};

}  // namespace ferry::cli

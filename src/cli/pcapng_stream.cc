// Owns pcapng framing (pcapng_stream.h).
#include "cli/pcapng_stream.h"

#include <pcap/pcap.h>

#include <cstring>
#include <memory>

#include "cli/command.h"

namespace ferry::cli {
namespace {

constexpr uint32_t kEnhancedPacket = 6;
constexpr size_t kSmallestBlock = 12;  // type, length, length again
constexpr size_t kPacketHeader = 28;   // type, length, interface, timestamp high and low, captured and original length

// pcapng is in the byte order of its writer, which is ferryd on this machine.
uint32_t word(std::span<const uint8_t> bytes, size_t offset) {
  uint32_t value;
  memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

}  // namespace

bool PcapngStream::feed(std::span<const uint8_t> bytes, const std::function<void(std::span<const uint8_t>)>& on_block) {
  pending_.insert(pending_.end(), bytes.begin(), bytes.end());
  size_t start = 0;
  while (pending_.size() - start >= kSmallestBlock) {
    const auto rest = std::span<const uint8_t>(pending_).subspan(start);
    const uint32_t length = word(rest, 4);
    if (length < kSmallestBlock || length % 4 != 0 || length > kMaxBlock) return false;
    if (rest.size() < length) break;
    if (word(rest, length - 4) != length) return false;
    on_block(rest.first(length));
    start += length;
  }
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<ptrdiff_t>(start));
  return true;
}

bool is_packet_block(std::span<const uint8_t> block) { return block.size() >= 4 && word(block, 0) == kEnhancedPacket; }

CapturedPacket packet_of(std::span<const uint8_t> block) {
  if (!is_packet_block(block) || block.size() < kPacketHeader + 4) return {};
  const uint32_t captured = word(block, 20);
  if (captured > block.size() - kPacketHeader - 4) return {};
  return {block.subspan(kPacketHeader, captured), word(block, 24)};
}

}  // namespace ferry::cli

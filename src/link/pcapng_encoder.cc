// Appends blocks (pcapng_blocks.h), in the host's byte order.
#include <algorithm>

#include "link/pcapng_blocks.h"
#include "link/pcapng_format.h"

namespace ferry::link::pcapng {
namespace {

class Appender {
 public:
  explicit Appender(std::vector<std::byte>& out) : out_(out) {}
  void put(ByteSpan bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  void put32(uint32_t v) { put(std::as_bytes(std::span(&v, 1))); }
  void put16(uint16_t v) { put(std::as_bytes(std::span(&v, 1))); }
  void pad(size_t n) { out_.resize(out_.size() + padded(n) - n); }
  void option(uint16_t code, ByteSpan value = {}) {
    put16(code);
    put16(static_cast<uint16_t>(value.size()));
    put(value);
    pad(value.size());
  }

 private:
  std::vector<std::byte>& out_;
};

ByteSpan bytes_of(std::string_view s) { return std::as_bytes(std::span(s)); }

}  // namespace

void append_header(std::vector<std::byte>& out, std::string_view application, std::string_view interface_name, uint32_t snaplen) {
  Appender a(out);
  const auto section = static_cast<uint32_t>(28 + 4 + padded(application.size()) + 4);
  a.put32(kSectionHeader), a.put32(section), a.put32(kByteOrderMagic);
  a.put16(1), a.put16(0);        // version 1.0
  a.put32(~0u), a.put32(~0u);    // section length: not given
  a.option(kOptionUserApplication, bytes_of(application));
  a.option(kOptionEnd);
  a.put32(section);

  const auto interface = static_cast<uint32_t>(20 + 4 + padded(interface_name.size()) + 8 + 4);
  a.put32(kInterfaceDescription), a.put32(interface);
  a.put16(kLinkEthernet), a.put16(0), a.put32(snaplen);
  a.option(kOptionInterfaceName, bytes_of(interface_name));
  const std::byte nanoseconds{9};  // 10^-9
  a.option(kOptionTimeResolution, ByteSpan(&nanoseconds, 1));
  a.option(kOptionEnd);
  a.put32(interface);
}

size_t packet_block_bytes(size_t kept) { return 32 + padded(kept) + 8 + 4; }

void append_packet(std::vector<std::byte>& out, Instant when, Direction direction, std::span<const ByteSpan> pieces, uint32_t snaplen) {
  Appender a(out);
  size_t length = 0;
  for (const ByteSpan& p : pieces) length += p.size();
  const size_t kept = std::min<size_t>(length, snaplen);
  const auto block = static_cast<uint32_t>(packet_block_bytes(kept));
  const auto stamp = static_cast<uint64_t>(when.ns());
  a.put32(kEnhancedPacket), a.put32(block);
  a.put32(0);  // the interface
  a.put32(static_cast<uint32_t>(stamp >> 32)), a.put32(static_cast<uint32_t>(stamp));
  a.put32(static_cast<uint32_t>(kept)), a.put32(static_cast<uint32_t>(length));
  size_t left = kept;
  for (const ByteSpan& p : pieces) {
    const size_t n = std::min(left, p.size());
    a.put(p.first(n));
    left -= n;
  }
  a.pad(kept);
  const auto flags = static_cast<uint32_t>(direction);
  a.option(kOptionPacketFlags, std::as_bytes(std::span(&flags, 1)));
  a.option(kOptionEnd);
  a.put32(block);
}

}  // namespace ferry::link::pcapng

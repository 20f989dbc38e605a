// Cuts and reads blocks; see pcapng_blocks.h.
#include <algorithm>
#include <cstring>

#include "link/pcapng_blocks.h"
#include "link/pcapng_format.h"

namespace ferry::link {
namespace {

constexpr size_t kMaxInterfaces = 1024;
constexpr uint64_t kNsPerSecond = 1'000'000'000;

// Units of a timestamp per second, from if_tsresol: a power of ten, or of two with the top bit set. 0: out of range.
uint64_t units_of(uint8_t resolution) {
  const unsigned exponent = resolution & 0x7f;
  if ((resolution & 0x80) != 0) return exponent <= 63 ? uint64_t{1} << exponent : 0;
  uint64_t units = 1;
  for (unsigned i = 0; i < exponent; ++i) {
    if (units > UINT64_MAX / 10) return 0;
    units *= 10;
  }
  return units;
}

int64_t to_ns(uint64_t stamp, uint64_t units) {
  const uint64_t seconds = stamp / units;
  __extension__ using Wide = unsigned __int128;
  const auto fraction = static_cast<uint64_t>(static_cast<Wide>(stamp % units) * kNsPerSecond / units);
  return static_cast<int64_t>(std::min<uint64_t>(seconds, INT64_MAX / kNsPerSecond - 1) * kNsPerSecond + fraction);
}

}  // namespace

bool PcapngDecoder::fail(const char* what) {
  error_ = what;
  return false;
}

uint32_t PcapngDecoder::u32(size_t at) const {
  uint32_t v;
  std::memcpy(&v, block_.data() + at, sizeof v);
  return big_endian_ ? __builtin_bswap32(v) : v;
}

uint16_t PcapngDecoder::u16(size_t at) const {
  uint16_t v;
  std::memcpy(&v, block_.data() + at, sizeof v);
  return big_endian_ ? __builtin_bswap16(v) : v;
}

void PcapngDecoder::feed(ByteSpan bytes) {
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<ptrdiff_t>(at_));
  at_ = 0;
  pending_.insert(pending_.end(), bytes.begin(), bytes.end());
}

ByteSpan PcapngDecoder::next_block() {
  has_frame_ = false;
  if (!error_.empty() || !cut(ByteSpan(pending_).subspan(at_))) return {};
  at_ += block_.size();
  bool good = true;
  switch (u32(0)) {
    case pcapng::kSectionHeader: good = on_section_header(); break;
    case pcapng::kInterfaceDescription: good = on_interface(); break;
    case pcapng::kEnhancedPacket: good = has_frame_ = on_packet(false); break;
    case pcapng::kSimplePacket: good = has_frame_ = on_packet(true); break;
    default: break;
  }
  return good ? block_ : ByteSpan();
}

// Makes block_ the first block of `rest`. False: it is not whole yet, or wrong.
bool PcapngDecoder::cut(ByteSpan rest) {
  block_ = rest;
  if (rest.size() < 12) return false;
  const bool section = u32(0) == pcapng::kSectionHeader;
  if (section) {
    uint32_t magic;
    std::memcpy(&magic, rest.data() + 8, sizeof magic);
    if (magic != pcapng::kByteOrderMagic && magic != __builtin_bswap32(pcapng::kByteOrderMagic)) return fail("not a pcapng file");
    big_endian_ = magic != pcapng::kByteOrderMagic;  // "the other order": this machine is little-endian
    in_section_ = true;
  } else if (!in_section_) {
    return fail("not a pcapng file");
  }
  const uint32_t length = u32(4);
  if (length < 12 || length % 4 != 0 || length > pcapng::kMaxBlockBytes) return fail("a block has an impossible length");
  if (rest.size() < length) return false;
  if (u32(length - 4) != length) return fail("a block's two lengths differ");
  block_ = rest.first(length);
  return true;
}

bool PcapngDecoder::on_section_header() {
  if (block_.size() < 28) return fail("a section header is too short");
  if (u16(12) != 1) return fail("a version of pcapng that is not known");
  interfaces_.clear();
  return true;
}

// Calls visit(code, offset of the value, its length) for the options from `at` to the end of the block, until it says false.
template <typename Visit>
bool PcapngDecoder::for_each_option(size_t at, Visit&& visit) {
  const size_t end = block_.size() - 4;
  while (at + 4 <= end) {
    const uint16_t code = u16(at), length = u16(at + 2);
    if (code == pcapng::kOptionEnd) break;
    if (at + 4 + length > end) return fail("an option leaves its block");
    if (!visit(code, at + 4, length)) return false;
    at += 4 + pcapng::padded(length);
  }
  return true;
}

bool PcapngDecoder::on_interface() {
  if (block_.size() < 20) return fail("an interface description is too short");
  if (interfaces_.size() == kMaxInterfaces) return fail("too many interfaces");
  Interface info;
  info.link_type = u16(8);
  info.snaplen = u32(12);
  const bool good = for_each_option(16, [&](uint16_t code, size_t at, uint16_t length) {
    if (code == pcapng::kOptionTimeResolution && length == 1) info.units_per_second = units_of(std::to_integer<uint8_t>(block_[at]));
    return info.units_per_second != 0 || fail("a timestamp resolution that is not known");
  });
  if (good) interfaces_.push_back(info);
  return good;
}

bool PcapngDecoder::on_packet(bool simple) {
  const size_t data = simple ? 12 : 28;
  if (block_.size() < data + 4) return fail("a packet block is too short");
  const uint32_t interface = simple ? 0 : u32(8);
  if (interface >= interfaces_.size()) return fail("a packet of an interface that was not described");
  const Interface& info = interfaces_[interface];
  if (info.link_type != pcapng::kLinkEthernet) return fail("packets that are not Ethernet frames");
  size_t kept = 0;
  frame_ = {};
  if (simple) {
    frame_.original_length = u32(8);
    kept = info.snaplen == 0 ? frame_.original_length : std::min(frame_.original_length, info.snaplen);
  } else {
    frame_.when = Instant::from_ns(to_ns(uint64_t{u32(12)} << 32 | u32(16), info.units_per_second));
    kept = u32(20);
    frame_.original_length = u32(24);
  }
  if (kept > block_.size() - data - 4) return fail("a packet is longer than its block");
  frame_.bytes = block_.subspan(data, kept);
  return simple || for_each_option(data + pcapng::padded(kept), [&](uint16_t code, size_t at, uint16_t length) {
    if (code != pcapng::kOptionPacketFlags || length != 4) return true;
    const uint32_t direction = u32(at) & 3;
    frame_.direction = direction <= 2 ? static_cast<Direction>(direction) : Direction::unknown;
    return true;
  });
}

}  // namespace ferry::link

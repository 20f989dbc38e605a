#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "link/pcapng.h"
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

Outcome<std::unique_ptr<PcapngReader>> PcapngReader::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Outcome<std::unique_ptr<PcapngReader>>::failure("cannot read " + path + ": " + std::strerror(errno));
  return std::unique_ptr<PcapngReader>(new PcapngReader(fd));
}

PcapngReader::~PcapngReader() { ::close(fd_); }

bool PcapngReader::fail(const char* what) {
  error_ = what;
  return false;
}

uint32_t PcapngReader::u32(size_t at) const {
  uint32_t v;
  std::memcpy(&v, block_.data() + at, sizeof v);
  return big_endian_ ? __builtin_bswap32(v) : v;
}

uint16_t PcapngReader::u16(size_t at) const {
  uint16_t v;
  std::memcpy(&v, block_.data() + at, sizeof v);
  return big_endian_ ? __builtin_bswap16(v) : v;
}

bool PcapngReader::read_exactly(size_t n) {
  const size_t before = block_.size();
  block_.resize(before + n);
  size_t got = 0;
  while (got < n) {
    const ssize_t r = ::read(fd_, block_.data() + before + got, n - got);
    if (r < 0 && errno == EINTR) continue;
    if (r <= 0) break;
    got += static_cast<size_t>(r);
  }
  block_.resize(before + got);
  return got == n;
}

// Leaves the block whole in block_: type, length, body, length again.
bool PcapngReader::read_block(uint32_t& type) {
  block_.clear();
  if (!read_exactly(8)) return block_.empty() ? false : fail("the file ends within a block");
  uint32_t raw;
  std::memcpy(&raw, block_.data(), sizeof raw);
  if (raw == pcapng::kSectionHeader) {
    if (!read_exactly(4)) return fail("the file ends within a block");
    uint32_t magic;
    std::memcpy(&magic, block_.data() + 8, sizeof magic);
    if (magic != pcapng::kByteOrderMagic && magic != __builtin_bswap32(pcapng::kByteOrderMagic)) return fail("not a pcapng file");
    big_endian_ = magic != pcapng::kByteOrderMagic;  // "the other order": this machine is little-endian
    in_section_ = true;
  } else if (!in_section_) {
    return fail("not a pcapng file");
  }
  type = u32(0);
  const uint32_t length = u32(4);
  if (length < 12 || length % 4 != 0 || length < block_.size() + 4 || length > pcapng::kMaxBlockBytes) return fail("a block has an impossible length");
  if (!read_exactly(length - block_.size())) return fail("the file ends within a block");
  if (u32(length - 4) != length) return fail("a block's two lengths differ");
  return true;
}

bool PcapngReader::on_section_header() {
  if (block_.size() < 28) return fail("a section header is too short");
  if (u16(12) != 1) return fail("a version of pcapng that is not known");
  interfaces_.clear();
  return true;
}

bool PcapngReader::on_interface() {
  if (block_.size() < 20) return fail("an interface description is too short");
  if (interfaces_.size() == kMaxInterfaces) return fail("too many interfaces");
  InterfaceInfo info;
  info.link_type = u16(8);
  info.snaplen = u32(12);
  const size_t end = block_.size() - 4;
  for (size_t at = 16; at + 4 <= end;) {
    const uint16_t code = u16(at), length = u16(at + 2);
    if (code == pcapng::kOptionEnd) break;
    if (at + 4 + length > end) return fail("an option leaves its block");
    if (code == pcapng::kOptionTimeResolution && length == 1) {
      info.units_per_second = units_of(std::to_integer<uint8_t>(block_[at + 4]));
      if (info.units_per_second == 0) return fail("a timestamp resolution that is not known");
    }
    at += 4 + (size_t{length} + 3) / 4 * 4;
  }
  interfaces_.push_back(info);
  return true;
}

bool PcapngReader::on_packet(uint32_t type, CapturedFrame& frame) {
  const bool simple = type == pcapng::kSimplePacket;
  const size_t data = simple ? 12 : 28;
  if (block_.size() < data + 4) return fail("a packet block is too short");
  const uint32_t interface = simple ? 0 : u32(8);
  if (interface >= interfaces_.size()) return fail("a packet of an interface that was not described");
  const InterfaceInfo& info = interfaces_[interface];
  if (info.link_type != pcapng::kLinkEthernet) return fail("packets that are not Ethernet frames");
  const size_t room = block_.size() - data - 4;
  size_t kept = 0;
  if (simple) {
    frame.when = Instant();
    frame.original_length = u32(8);
    kept = info.snaplen == 0 ? frame.original_length : std::min(frame.original_length, info.snaplen);
  } else {
    frame.when = Instant::from_ns(to_ns(uint64_t{u32(12)} << 32 | u32(16), info.units_per_second));
    kept = u32(20);
    frame.original_length = u32(24);
  }
  if (kept > room) return fail("a packet is longer than its block");
  frame.bytes.assign(block_.begin() + static_cast<ptrdiff_t>(data), block_.begin() + static_cast<ptrdiff_t>(data + kept));
  frame.direction = Direction::unknown;
  const size_t end = block_.size() - 4;
  for (size_t at = data + (kept + 3) / 4 * 4; !simple && at + 4 <= end;) {
    const uint16_t code = u16(at), length = u16(at + 2);
    if (code == pcapng::kOptionEnd) break;
    if (at + 4 + length > end) return fail("an option leaves its block");
    if (code == pcapng::kOptionPacketFlags && length == 4) {
      const uint32_t direction = u32(at + 4) & 3;
      frame.direction = direction <= 2 ? static_cast<Direction>(direction) : Direction::unknown;
    }
    at += 4 + (size_t{length} + 3) / 4 * 4;
  }
  return true;
}

bool PcapngReader::next(CapturedFrame& frame) {
  uint32_t type = 0;
  while (error_.empty() && read_block(type)) {
    if (type == pcapng::kSectionHeader && !on_section_header()) return false;
    if (type == pcapng::kInterfaceDescription && !on_interface()) return false;
    if (type == pcapng::kEnhancedPacket || type == pcapng::kSimplePacket) return on_packet(type, frame);
  }
  return false;
}

}  // namespace ferry::link

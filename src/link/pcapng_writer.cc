// Blocks of a capture file: section header, one interface description, then enhanced packet blocks (draft-ietf-opsawg-pcapng
// sections 4.1, 4.2, 4.3), in the host's byte order, timestamps in nanoseconds.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "link/pcapng.h"
#include "link/pcapng_format.h"

namespace ferry::link {
namespace {

constexpr size_t kBufferBytes = 256 << 10;
constexpr std::byte kZeros[4] = {};

constexpr uint32_t padded(size_t n) { return static_cast<uint32_t>((n + 3) & ~size_t{3}); }
ByteSpan bytes_of(const std::string& s) { return std::as_bytes(std::span(s)); }

std::string refusal(const std::string& path) { return "cannot write " + path + ": " + std::strerror(errno); }

}  // namespace

Outcome<std::unique_ptr<PcapngWriter>> PcapngWriter::create(const std::string& path, const PcapngOptions& options) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return Outcome<std::unique_ptr<PcapngWriter>>::failure(refusal(path));
  return std::unique_ptr<PcapngWriter>(new PcapngWriter(fd, path, options));
}

Outcome<std::unique_ptr<PcapngWriter>> PcapngWriter::adopt(int fd, const PcapngOptions& options) {
  if (fd < 0) return Outcome<std::unique_ptr<PcapngWriter>>::failure("no file to write a capture to");
  return std::unique_ptr<PcapngWriter>(new PcapngWriter(fd, {}, options));
}

PcapngWriter::PcapngWriter(int fd, std::string path, const PcapngOptions& options)
    : options_(options), path_(std::move(path)), fd_(fd) {
  buffer_.reserve(kBufferBytes);
  put_file_header();
}

PcapngWriter::~PcapngWriter() {
  flush();
  ::close(fd_);
}

void PcapngWriter::put_file_header() {
  using namespace pcapng;
  const uint32_t user = padded(options_.application.size());
  const uint32_t section = 28 + 4 + user + 4;
  put32(kSectionHeader);
  put32(section);
  put32(kByteOrderMagic);
  put16(1), put16(0);              // version 1.0
  put32(~0u), put32(~0u);          // section length: not given
  put_option(kOptionUserApplication, bytes_of(options_.application));
  put_option(kOptionEnd, {});
  put32(section);

  const uint32_t name = padded(options_.interface_name.size());
  const uint32_t interface = 20 + 4 + name + 8 + 4;
  put32(kInterfaceDescription);
  put32(interface);
  put16(kLinkEthernet), put16(0);
  put32(options_.snaplen);
  put_option(kOptionInterfaceName, bytes_of(options_.interface_name));
  const std::byte nanoseconds{9};  // 10^-9
  put_option(kOptionTimeResolution, ByteSpan(&nanoseconds, 1));
  put_option(kOptionEnd, {});
  put32(interface);
}

bool PcapngWriter::write(Instant when, Direction direction, std::span<const ByteSpan> pieces) {
  using namespace pcapng;
  if (full_ || failed_) return false;
  size_t length = 0;
  for (const ByteSpan& p : pieces) length += p.size();
  const size_t kept = std::min<size_t>(length, options_.snaplen);
  const uint32_t block = 32 + padded(kept) + 8 + 4;
  if (options_.max_file_bytes != 0 && file_bytes_ + block > options_.max_file_bytes && !next_file()) return false;

  const auto stamp = static_cast<uint64_t>((when + options_.epoch).ns());
  put32(kEnhancedPacket);
  put32(block);
  put32(0);  // the interface
  put32(static_cast<uint32_t>(stamp >> 32)), put32(static_cast<uint32_t>(stamp));
  put32(static_cast<uint32_t>(kept)), put32(static_cast<uint32_t>(length));
  size_t left = kept;
  for (const ByteSpan& p : pieces) {
    const size_t n = std::min(left, p.size());
    put(p.first(n));
    left -= n;
  }
  put(ByteSpan(kZeros, padded(kept) - kept));
  const auto flags = static_cast<uint32_t>(direction);
  put_option(kOptionPacketFlags, std::as_bytes(std::span(&flags, 1)));
  put_option(kOptionEnd, {});
  put32(block);
  ++frames_;
  return !failed_;
}

bool PcapngWriter::next_file() {
  if (path_.empty() || options_.keep_files <= 1) {
    flush();
    full_ = true;
    return false;
  }
  flush();
  ++file_number_;
  const std::string next = path_ + "." + std::to_string(file_number_);
  const int fd = ::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) {
    failed_ = true;
    return false;
  }
  ::close(fd_);
  fd_ = fd;
  file_bytes_ = 0;
  if (file_number_ >= options_.keep_files) {
    const uint32_t old = file_number_ - options_.keep_files;
    ::unlink((old == 0 ? path_ : path_ + "." + std::to_string(old)).c_str());
  }
  put_file_header();
  return true;
}

void PcapngWriter::put(ByteSpan bytes) {
  file_bytes_ += bytes.size();
  if (buffer_.size() + bytes.size() > kBufferBytes) flush();
  if (bytes.size() > kBufferBytes) {
    write_out(bytes.data(), bytes.size());
  } else {
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  }
}

void PcapngWriter::put32(uint32_t v) { put(std::as_bytes(std::span(&v, 1))); }
void PcapngWriter::put16(uint16_t v) { put(std::as_bytes(std::span(&v, 1))); }

void PcapngWriter::put_option(uint16_t code, ByteSpan value) {
  put16(code);
  put16(static_cast<uint16_t>(value.size()));
  put(value);
  put(ByteSpan(kZeros, padded(value.size()) - value.size()));
}

void PcapngWriter::flush() {
  write_out(buffer_.data(), buffer_.size());
  buffer_.clear();
}

void PcapngWriter::write_out(const std::byte* p, size_t n) {
  while (n > 0 && !failed_) {
    const ssize_t done = ::write(fd_, p, n);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) {
      failed_ = true;
      return;
    }
    p += done;
    n -= static_cast<size_t>(done);
  }
}

}  // namespace ferry::link

// Capture files: a buffer of blocks (pcapng_encoder.cc), written out when it is full; rotation.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "link/pcapng.h"

namespace ferry::link {
namespace {

constexpr size_t kBufferBytes = 256 << 10;

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
  pcapng::append_header(buffer_, options_.application, options_.interface_name, options_.snaplen);
  file_bytes_ = buffer_.size();
}

bool PcapngWriter::write(Instant when, Direction direction, std::span<const ByteSpan> pieces) {
  if (full_ || failed_) return false;
  size_t length = 0;
  for (const ByteSpan& p : pieces) length += p.size();
  const size_t block = pcapng::packet_block_bytes(std::min<size_t>(length, options_.snaplen));
  if (options_.max_file_bytes != 0 && file_bytes_ + block > options_.max_file_bytes && !next_file()) return false;
  if (buffer_.size() + block > kBufferBytes) flush();
  pcapng::append_packet(buffer_, when + options_.epoch, direction, pieces, options_.snaplen);
  file_bytes_ += block;
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
  if (file_number_ >= options_.keep_files) {
    const uint32_t old = file_number_ - options_.keep_files;
    ::unlink((old == 0 ? path_ : path_ + "." + std::to_string(old)).c_str());
  }
  put_file_header();
  return true;
}

void PcapngWriter::flush() {
  for (ByteSpan left(buffer_); !left.empty() && !failed_;) {
    const ssize_t done = ::write(fd_, left.data(), left.size());
    if (done < 0 && errno == EINTR) continue;
    failed_ = done <= 0;
    if (!failed_) left = left.subspan(static_cast<size_t>(done));
  }
  buffer_.clear();
}

}  // namespace ferry::link

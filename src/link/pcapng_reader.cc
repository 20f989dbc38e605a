// A capture file, chunk by chunk into the decoder.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "link/pcapng.h"

namespace ferry::link {

Outcome<std::unique_ptr<PcapngReader>> PcapngReader::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Outcome<std::unique_ptr<PcapngReader>>::failure("cannot read " + path + ": " + std::strerror(errno));
  return std::unique_ptr<PcapngReader>(new PcapngReader(fd));
}

PcapngReader::~PcapngReader() { ::close(fd_); }

bool PcapngReader::next(CapturedFrame& frame) {
  for (;;) {
    while (!decoder_.next_block().empty()) {
      if (decoder_.frame() == nullptr) continue;
      frame = *decoder_.frame();
      return true;
    }
    error_ = decoder_.error();
    if (!error_.empty()) return false;
    const ssize_t n = ::read(fd_, chunk_.data(), chunk_.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    decoder_.feed(ByteSpan(chunk_).first(static_cast<size_t>(n)));
  }
  if (decoder_.within_block()) error_ = "the file ends within a block";
  return false;
}

}  // namespace ferry::link

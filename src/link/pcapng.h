// Packet captures in pcapng files: a writer with nanosecond timestamps that keeps to a size, and a reader. Super-frames are written as
// they are. Does not own the format: pcapng_blocks.h.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "link/outcome.h"
#include "link/pcapng_blocks.h"

namespace ferry::link {

struct PcapngOptions {
  std::string interface_name{};       // if_name, e.g. "packet:veth0"
  std::string application = "ferry";  // shb_userappl
  // Added to every timestamp: the difference between CLOCK_REALTIME and the clock of the Instants.
  Duration epoch = Duration::zero();
  uint32_t snaplen = 262144;          // bytes kept of a frame
  // Bytes of one file, 0: no limit. A full file is followed by the next one (path.1, path.2, …, of which `keep_files` in all are
  // kept), or, when only a descriptor was given or keep_files is 1, recording stops.
  uint64_t max_file_bytes = 1ull << 30;
  uint32_t keep_files = 1;
};

// Buffers up to 256 KiB; flush() or destruction writes it out. Write errors end the recording (failed()).
class PcapngWriter {
 public:
  static Outcome<std::unique_ptr<PcapngWriter>> create(const std::string& path, const PcapngOptions& options);
  // Takes ownership of `fd` (a file, a pipe); cannot rotate.
  static Outcome<std::unique_ptr<PcapngWriter>> adopt(int fd, const PcapngOptions& options);
  ~PcapngWriter();
  PcapngWriter(const PcapngWriter&) = delete;
  PcapngWriter& operator=(const PcapngWriter&) = delete;

  // One frame, given in pieces. False: not recorded (full or failed).
  bool write(Instant when, Direction direction, std::span<const ByteSpan> pieces);
  bool write(Instant when, Direction direction, ByteSpan frame) { return write(when, direction, std::span(&frame, 1)); }
  void flush();
  bool full() const { return full_; }
  bool failed() const { return failed_; }
  uint64_t frames() const { return frames_; }

 private:
  PcapngWriter(int fd, std::string path, const PcapngOptions& options);
  void put_file_header();
  bool next_file();

  PcapngOptions options_;
  std::string path_;
  int fd_ = -1;
  std::vector<std::byte> buffer_;
  uint64_t file_bytes_ = 0, frames_ = 0;
  uint32_t file_number_ = 0;
  bool full_ = false, failed_ = false;
};

// The frames of a file.
class PcapngReader {
 public:
  static Outcome<std::unique_ptr<PcapngReader>> open(const std::string& path);
  ~PcapngReader();
  PcapngReader(const PcapngReader&) = delete;
  PcapngReader& operator=(const PcapngReader&) = delete;

  // The next frame, valid until the next call; false at the end or at the first thing that is not pcapng (then error() says what).
  bool next(CapturedFrame& frame);
  const std::string& error() const { return error_; }

 private:
  explicit PcapngReader(int fd) : fd_(fd), chunk_(64 << 10) {}

  int fd_;
  std::vector<std::byte> chunk_;
  PcapngDecoder decoder_;
  std::string error_;
};

}  // namespace ferry::link

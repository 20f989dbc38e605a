// Packet captures as pcapng (draft-ietf-opsawg-pcapng): a writer with nanosecond timestamps that keeps to a size, and a reader.
// Super-frames are written as they are. What the reader reads is not trusted.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"
#include "link/outcome.h"

namespace ferry::link {

enum class Direction : uint8_t { unknown = 0, inbound = 1, outbound = 2 };  // as in epb_flags

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
  void put(ByteSpan bytes);
  void put32(uint32_t v);
  void put16(uint16_t v);
  void put_option(uint16_t code, ByteSpan value);
  void put_file_header();
  void write_out(const std::byte* p, size_t n);
  bool next_file();

  PcapngOptions options_;
  std::string path_;
  int fd_ = -1;
  std::vector<std::byte> buffer_;
  uint64_t file_bytes_ = 0, frames_ = 0;
  uint32_t file_number_ = 0;
  bool full_ = false, failed_ = false;
};

struct CapturedFrame {
  Instant when;                  // since 1970, as in the file
  Direction direction = Direction::unknown;
  uint32_t original_length = 0;  // more than bytes.size() when cut by the snaplen
  std::vector<std::byte> bytes;
};

// Reads enhanced and simple packet blocks of either byte order; other blocks are skipped.
class PcapngReader {
 public:
  static Outcome<std::unique_ptr<PcapngReader>> open(const std::string& path);
  ~PcapngReader();
  PcapngReader(const PcapngReader&) = delete;
  PcapngReader& operator=(const PcapngReader&) = delete;

  // The next frame; false at the end or at the first thing that is not pcapng (then error() says what).
  bool next(CapturedFrame& frame);
  const std::string& error() const { return error_; }

 private:
  struct InterfaceInfo {
    uint64_t units_per_second = 1'000'000;
    uint32_t link_type = 0;
    uint32_t snaplen = 0;
  };
  explicit PcapngReader(int fd) : fd_(fd) {}
  bool read_exactly(size_t n);  // into block_; false at the end of the file
  bool read_block(uint32_t& type);
  bool on_section_header();
  bool on_interface();
  bool on_packet(uint32_t type, CapturedFrame& frame);
  bool fail(const char* what);
  uint32_t u32(size_t at) const;
  uint16_t u16(size_t at) const;

  int fd_;
  bool big_endian_ = false;
  bool in_section_ = false;
  std::vector<std::byte> block_;  // body of the current block
  std::vector<InterfaceInfo> interfaces_;
  std::string error_;
};

}  // namespace ferry::link

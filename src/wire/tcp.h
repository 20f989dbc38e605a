// The TCP header (RFC 9293 section 3.1).
//
// Owns: layout, parsing and writing of the 20 fixed bytes and the options. Does not own: the checksum (wire/checksum.h; a
// separate step because links may have done it) or any judgement of flags (tcp/).
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"
#include "wire/tcp_options.h"

namespace ferry::wire {

inline constexpr size_t kTcpHeaderBytes = 20;
inline constexpr size_t kTcpMaxHeaderBytes = 60;
inline constexpr size_t kTcpChecksumOffset = 16;

// A segment whose header is complete; accessors are total.
class TcpView {
 public:
  // `segment` is the whole IP payload. Errc::malformed when it is shorter than its header says, or the header below 20 bytes.
  static Result<TcpView> parse(ByteSpan segment);

  uint16_t source_port() const { return load_be16(bytes_, 0); }
  uint16_t destination_port() const { return load_be16(bytes_, 2); }
  SeqNum sequence() const { return SeqNum(load_be32(bytes_, 4)); }
  SeqNum acknowledgment() const { return SeqNum(load_be32(bytes_, 8)); }
  size_t header_length() const { return size_t{load_u8(bytes_, 12)} >> 4 << 2; }
  uint8_t flags() const { return load_u8(bytes_, 13); }  // tcp::Flag bits
  uint16_t window() const { return load_be16(bytes_, 14); }
  uint16_t checksum() const { return load_be16(bytes_, kTcpChecksumOffset); }
  uint16_t urgent_pointer() const { return load_be16(bytes_, 18); }
  ByteSpan option_bytes() const { return bytes_.subspan(kTcpHeaderBytes, header_length() - kTcpHeaderBytes); }
  ByteSpan payload() const { return bytes_.subspan(header_length()); }
  ByteSpan bytes() const { return bytes_; }

 private:
  explicit TcpView(ByteSpan bytes) : bytes_(bytes) {}
  ByteSpan bytes_;
};

struct TcpFields {
  uint16_t source_port = 0, destination_port = 0;
  SeqNum sequence, acknowledgment;
  uint8_t flags = 0;
  uint16_t window = 0;
  uint16_t checksum = 0;
  uint16_t urgent_pointer = 0;
  TcpOptions options;

  // Errc::malformed when the options are.
  static Result<TcpFields> parse(const TcpView& view);
  // Header bytes with options: 20..60 (see TcpOptions::size).
  size_t size() const { return kTcpHeaderBytes + options.size(); }
  // Writes size() bytes to `out`, which is at least that long; size() must not exceed 60.
  void emit(MutableByteSpan out) const;

  friend bool operator==(const TcpFields&, const TcpFields&) = default;
};

}  // namespace ferry::wire

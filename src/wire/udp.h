// The UDP header (RFC 768).
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"

namespace ferry::wire {

inline constexpr size_t kUdpHeaderBytes = 8;
inline constexpr size_t kUdpChecksumOffset = 6;

// A datagram cut to its own length field (RFC 1122 section 4.1.3: bytes beyond it are padding).
class UdpView {
 public:
  // `segment` is the whole IP payload. Errc::malformed when the length field is below 8 or beyond the payload.
  static Result<UdpView> parse(ByteSpan segment);

  uint16_t source_port() const { return load_be16(bytes_, 0); }
  uint16_t destination_port() const { return load_be16(bytes_, 2); }
  uint16_t length() const { return load_be16(bytes_, 4); }
  uint16_t checksum() const { return load_be16(bytes_, kUdpChecksumOffset); }  // 0: the sender made none
  ByteSpan payload() const { return bytes_.subspan(kUdpHeaderBytes); }
  ByteSpan bytes() const { return bytes_; }

 private:
  explicit UdpView(ByteSpan bytes) : bytes_(bytes) {}
  ByteSpan bytes_;
};

struct UdpFields {
  uint16_t source_port = 0, destination_port = 0;
  uint16_t length = kUdpHeaderBytes;  // header and payload
  uint16_t checksum = 0;

  static Result<UdpFields> parse(const UdpView& view);
  static constexpr size_t size() { return kUdpHeaderBytes; }
  void emit(MutableByteSpan out) const;

  friend bool operator==(const UdpFields&, const UdpFields&) = default;
};

}  // namespace ferry::wire

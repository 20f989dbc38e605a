// ICMP messages (RFC 792, 1122 section 3.2.2, 1191 for the next-hop MTU, 4884 is ignored): eight bytes of header, then data.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"

namespace ferry::wire {

inline constexpr size_t kIcmpHeaderBytes = 8;
inline constexpr size_t kIcmpChecksumOffset = 2;

enum IcmpType : uint8_t { kIcmpEchoReply = 0, kIcmpUnreachable = 3, kIcmpSourceQuench = 4, kIcmpRedirect = 5, kIcmpEcho = 8,
                          kIcmpTimeExceeded = 11, kIcmpParameterProblem = 12 };
enum IcmpUnreachableCode : uint8_t { kNetUnreachable = 0, kHostUnreachable = 1, kProtocolUnreachable = 2,
                                     kPortUnreachable = 3, kFragmentationNeeded = 4, kSourceRouteFailed = 5 };
enum IcmpTimeExceededCode : uint8_t { kTtlExceeded = 0, kReassemblyTimeExceeded = 1 };

class IcmpView {
 public:
  // `bytes` is the whole IP payload. Errc::malformed when shorter than 8 bytes.
  static Result<IcmpView> parse(ByteSpan bytes);

  uint8_t type() const { return load_u8(bytes_, 0); }
  uint8_t code() const { return load_u8(bytes_, 1); }
  uint16_t checksum() const { return load_be16(bytes_, kIcmpChecksumOffset); }
  bool checksum_ok() const;  // over the whole message
  bool is_error() const;     // quotes a datagram
  uint32_t rest() const { return load_be32(bytes_, 4); }
  uint16_t echo_identifier() const { return load_be16(bytes_, 4); }
  uint16_t echo_sequence() const { return load_be16(bytes_, 6); }
  uint16_t next_hop_mtu() const { return load_be16(bytes_, 6); }  // of fragmentation needed; 0: an old router
  ByteSpan data() const { return bytes_.subspan(kIcmpHeaderBytes); }
  ByteSpan bytes() const { return bytes_; }

 private:
  explicit IcmpView(ByteSpan bytes) : bytes_(bytes) {}
  ByteSpan bytes_;
};

struct IcmpFields {
  uint8_t type = 0, code = 0;
  uint16_t checksum = 0;
  uint32_t rest = 0;  // identifier << 16 | sequence; or unused << 16 | MTU

  static Result<IcmpFields> parse(const IcmpView& view);
  static constexpr size_t size() { return kIcmpHeaderBytes; }
  void emit(MutableByteSpan out) const;
  // Sets `checksum` for this header followed by `data`.
  void seal(ByteSpan data);

  friend bool operator==(const IcmpFields&, const IcmpFields&) = default;
};

}  // namespace ferry::wire

// The IPv4 header (RFC 791 section 3.1), ECN and DS bits as in RFC 3168 and RFC 2474.
//
// Owns: layout, parsing and writing. Options are skipped; `has_source_route` finds the two that a host refuses (RFC 1122
// section 3.2.1.8, RFC 7126). Does not own: the header checksum's verification (a separate step: checksum_ok).
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"
#include "wire/address.h"

namespace ferry::wire {

inline constexpr size_t kIpv4HeaderBytes = 20;
inline constexpr size_t kIpv4MaxHeaderBytes = 60;

enum IpProtocol : uint8_t { kProtocolIcmp = 1, kProtocolTcp = 6, kProtocolUdp = 17 };
enum EcnField : uint8_t { kNotEct = 0, kEct1 = 1, kEct0 = 2, kCongestionExperienced = 3 };

// A datagram or fragment, cut to its total length (what follows is link-layer padding).
class Ipv4View {
 public:
  // `bytes` starts at the header. Errc::malformed: version not 4, header below 20 bytes, or lengths beyond `bytes`.
  // `uncut`: the packet is still to be cut into segments. Then, with more than 65,535 bytes, its total length is 0 and it ends with `bytes`
  // (as Linux does, "BIG TCP").
  static Result<Ipv4View> parse(ByteSpan bytes, bool uncut = false);
  // As parse, for a datagram whose last `detached` bytes are elsewhere: with nothing behind it, and the view ends before them.
  static Result<Ipv4View> parse_detached(ByteSpan bytes, size_t detached, bool uncut = false);
  // As parse, for the datagram that an ICMP error quotes: only the header must be complete, the payload may be cut short.
  static Result<Ipv4View> parse_quoted(ByteSpan bytes);

  size_t header_length() const { return size_t{load_u8(bytes_, 0)} % 16 * 4; }
  uint8_t tos() const { return load_u8(bytes_, 1); }
  uint8_t ecn() const { return load_u8(bytes_, 1) & 3; }
  uint16_t total_length() const { return load_be16(bytes_, 2); }  // 0: see parse
  uint16_t identification() const { return load_be16(bytes_, 4); }
  bool dont_fragment() const { return (load_be16(bytes_, 6) & 0x4000) != 0; }
  bool more_fragments() const { return (load_be16(bytes_, 6) & 0x2000) != 0; }
  uint32_t fragment_offset() const { return (load_be16(bytes_, 6) & 0x1fffu) * 8; }  // bytes
  bool is_fragment() const { return (load_be16(bytes_, 6) & 0x3fff) != 0; }
  uint8_t ttl() const { return load_u8(bytes_, 8); }
  uint8_t protocol() const { return load_u8(bytes_, 9); }
  uint16_t checksum() const { return load_be16(bytes_, 10); }
  Ipv4Address source() const { return {load_be32(bytes_, 12)}; }
  Ipv4Address destination() const { return {load_be32(bytes_, 16)}; }

  bool checksum_ok() const;
  // Loose or strict source route among the options, or options that do not parse.
  bool has_source_route() const;
  ByteSpan option_bytes() const { return bytes_.subspan(kIpv4HeaderBytes, header_length() - kIpv4HeaderBytes); }
  ByteSpan header() const { return bytes_.first(header_length()); }
  ByteSpan payload() const { return bytes_.subspan(header_length()); }
  ByteSpan bytes() const { return bytes_; }

 private:
  explicit Ipv4View(ByteSpan bytes) : bytes_(bytes) {}
  ByteSpan bytes_;
};

// A header without options, as Ferry writes them.
struct Ipv4Fields {
  uint8_t tos = 0;
  uint16_t total_length = kIpv4HeaderBytes;
  uint16_t identification = 0;
  bool dont_fragment = false, more_fragments = false;
  uint16_t fragment_offset = 0;  // bytes, a multiple of 8
  uint8_t ttl = 64;
  uint8_t protocol = 0;
  Ipv4Address source, destination;

  // Loses options.
  static Result<Ipv4Fields> parse(const Ipv4View& view);
  static constexpr size_t size() { return kIpv4HeaderBytes; }
  // Writes 20 bytes, the header checksum included.
  void emit(MutableByteSpan out) const;

  friend bool operator==(const Ipv4Fields&, const Ipv4Fields&) = default;
};

}  // namespace ferry::wire

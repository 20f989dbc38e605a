// The Ethernet II header (RFC 894; IEEE 802.3 section 3). VLAN tags are recognised by their type and not looked into: a tagged
// frame belongs to another network.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"
#include "wire/address.h"

namespace ferry::wire {

inline constexpr size_t kEthernetHeaderBytes = 14;
inline constexpr size_t kEthernetMinFrameBytes = 60;  // without the frame check sequence; shorter ones are padded

enum EtherType : uint16_t { kEtherIpv4 = 0x0800, kEtherArp = 0x0806, kEtherVlan = 0x8100, kEtherQinQ = 0x88a8,
                            kEtherIpv6 = 0x86dd };

MacAddress load_mac(ByteSpan s, size_t at);
void store_mac(MutableByteSpan s, size_t at, const MacAddress& mac);

class EthernetView {
 public:
  // Errc::malformed when shorter than a header.
  static Result<EthernetView> parse(ByteSpan frame);

  MacAddress destination() const { return load_mac(bytes_, 0); }
  MacAddress source() const { return load_mac(bytes_, 6); }
  uint16_t type() const { return load_be16(bytes_, 12); }  // below 1536: an IEEE 802.3 length, not a type
  bool is_vlan() const { return type() == kEtherVlan || type() == kEtherQinQ; }
  ByteSpan payload() const { return bytes_.subspan(kEthernetHeaderBytes); }  // with padding
  ByteSpan bytes() const { return bytes_; }

 private:
  explicit EthernetView(ByteSpan bytes) : bytes_(bytes) {}
  ByteSpan bytes_;
};

struct EthernetFields {
  MacAddress destination, source;
  uint16_t type = 0;

  static Result<EthernetFields> parse(const EthernetView& view);
  static constexpr size_t size() { return kEthernetHeaderBytes; }
  void emit(MutableByteSpan out) const;

  friend bool operator==(const EthernetFields&, const EthernetFields&) = default;
};

// Zero bytes that a frame of this length needs behind it (RFC 894).
constexpr size_t ethernet_padding(size_t frame_length) {
  return frame_length < kEthernetMinFrameBytes ? kEthernetMinFrameBytes - frame_length : 0;
}

}  // namespace ferry::wire

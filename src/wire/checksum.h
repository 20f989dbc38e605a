// The Internet checksum (RFC 1071), copy-free over any number of spans of any length, and the pseudo-header of RFC 9293
// section 3.1 and RFC 768.
//
// Values are in host order: store_be16 writes them. `needs_checksum` offload (buf/packet.h) wants partial() of the
// pseudo-header in the checksum field.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "wire/address.h"

namespace ferry::wire {

class Checksum {
 public:
  // The bytes continue what was added before, odd lengths included.
  void add(ByteSpan bytes);
  void add_be16(uint16_t value) { add_sum(value); }
  void add_be32(uint32_t value) { add_sum(static_cast<uint16_t>(value >> 16)), add_sum(static_cast<uint16_t>(value)); }
  // One's complement sum so far, not complemented.
  uint16_t partial() const;
  // What goes into a header whose checksum field was zero (or absent) when added.
  uint16_t finish() const { return static_cast<uint16_t>(~partial()); }

 private:
  void add_sum(uint16_t host_order) { sum_ += host_order; }
  uint64_t sum_ = 0;   // of 16-bit words in host order; cannot overflow within 2^48 additions
  bool odd_ = false;   // an odd number of bytes was added
};

// Of an IPv4 transport segment of `length` bytes.
Checksum pseudo_header(Ipv4Address source, Ipv4Address destination, uint8_t protocol, uint32_t length);
// Whether bytes that include their checksum add up; `sum` may carry a pseudo-header.
bool checksum_ok(Checksum sum, ByteSpan bytes);

}  // namespace ferry::wire

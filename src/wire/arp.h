// ARP packets for IPv4 over Ethernet (RFC 826); other hardware or protocol types do not parse.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"
#include "wire/address.h"

namespace ferry::wire {

inline constexpr size_t kArpBytes = 28;
enum ArpOperation : uint16_t { kArpRequest = 1, kArpReply = 2 };

class ArpView {
 public:
  // `bytes` is the Ethernet payload, padding allowed. Errc::malformed: too short, or not IPv4 over Ethernet.
  static Result<ArpView> parse(ByteSpan bytes);

  uint16_t operation() const { return load_be16(bytes_, 6); }
  MacAddress sender_mac() const;
  Ipv4Address sender_ip() const { return {load_be32(bytes_, 14)}; }
  MacAddress target_mac() const;
  Ipv4Address target_ip() const { return {load_be32(bytes_, 24)}; }

 private:
  explicit ArpView(ByteSpan bytes) : bytes_(bytes) {}
  ByteSpan bytes_;
};

struct ArpFields {
  uint16_t operation = kArpRequest;
  MacAddress sender_mac;
  Ipv4Address sender_ip;
  MacAddress target_mac;
  Ipv4Address target_ip;

  static Result<ArpFields> parse(const ArpView& view);
  static constexpr size_t size() { return kArpBytes; }
  void emit(MutableByteSpan out) const;

  friend bool operator==(const ArpFields&, const ArpFields&) = default;
};

}  // namespace ferry::wire

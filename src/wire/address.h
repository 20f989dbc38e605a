// Addresses as they stand on the wire: 48-bit MAC, 32-bit IPv4, and the 128-bit IpAddress that upper layers use for both
// families (an IPv4 address is held IPv4-mapped, RFC 4291 section 2.5.5.2), so that IPv6 needs no second set of interfaces.
#pragma once

#include <array>
#include <compare>
#include <cstdint>

#include "base/bytes.h"

namespace ferry::wire {

struct MacAddress {
  std::array<uint8_t, 6> octets{};
  static constexpr MacAddress broadcast() { return {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}; }
  constexpr bool is_group() const { return (octets[0] & 1) != 0; }  // broadcast or multicast
  constexpr bool is_zero() const { return *this == MacAddress{}; }
  friend constexpr bool operator==(const MacAddress&, const MacAddress&) = default;
};

// Host byte order inside: 10.9.0.1 is 0x0a090001.
struct Ipv4Address {
  uint32_t value = 0;
  static constexpr Ipv4Address of(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
    return {static_cast<uint32_t>(a) << 24 | static_cast<uint32_t>(b) << 16 | static_cast<uint32_t>(c) << 8 | d};
  }
  constexpr bool is_any() const { return value == 0; }
  constexpr bool is_loopback() const { return value >> 24 == 127; }
  constexpr bool is_multicast() const { return value >> 28 == 14; }
  constexpr bool is_limited_broadcast() const { return value == 0xffffffff; }
  friend constexpr auto operator<=>(Ipv4Address, Ipv4Address) = default;
};

// A prefix such as 10.9.0.0/24; `length` is 0..32.
struct Ipv4Prefix {
  Ipv4Address address;
  uint8_t length = 0;
  constexpr uint32_t mask() const { return length == 0 ? 0 : ~uint32_t{0} << (32 - length); }
  constexpr bool contains(Ipv4Address a) const { return ((a.value ^ address.value) & mask()) == 0; }
  constexpr Ipv4Address broadcast() const { return {address.value | ~mask()}; }
  friend constexpr bool operator==(const Ipv4Prefix&, const Ipv4Prefix&) = default;
};

struct IpAddress {
  std::array<uint8_t, 16> octets{};  // all zero: unspecified, of either family
  static constexpr IpAddress from(Ipv4Address a) {
    IpAddress r;
    if (a.is_any()) return r;
    r.octets[10] = r.octets[11] = 0xff;
    for (int i = 0; i < 4; ++i) r.octets[12 + i] = static_cast<uint8_t>(a.value >> (24 - 8 * i));
    return r;
  }
  constexpr bool is_any() const { return *this == IpAddress{}; }
  constexpr bool is_v4() const {  // IPv4-mapped, or unspecified
    for (int i = 0; i < 10; ++i)
      if (octets[i] != 0) return false;
    return (octets[10] == 0xff && octets[11] == 0xff) || is_any();
  }
  // The IPv4 address of a mapped or unspecified address; callers check is_v4().
  constexpr Ipv4Address v4() const { return Ipv4Address::of(octets[12], octets[13], octets[14], octets[15]); }
  friend constexpr auto operator<=>(const IpAddress&, const IpAddress&) = default;
};

// A transport address. Port in host byte order; 0 is "any".
struct Endpoint {
  IpAddress address;
  uint16_t port = 0;
  friend constexpr auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

}  // namespace ferry::wire

// The routing table: longest prefix first (RFC 1122 section 3.3.1, RFC 1812 section 5.2.4.3), gateway or on link.
//
// Owns: the routes. Does not own: interfaces (their on-link routes are added by network.cc).
#pragma once

#include <array>
#include <cstdint>

#include "base/result.h"
#include "net/interface.h"
#include "wire/address.h"

namespace ferry::net {

struct Route {
  wire::Ipv4Prefix destination;
  wire::Ipv4Address gateway;  // unspecified: the destination is on the link
  LinkIndex link = 0;
};

class RouteTable {
 public:
  static constexpr uint32_t kMaxRoutes = 64;

  // Replaces a route with the same prefix and link. Errc::invalid for a prefix longer than 32, too_many.
  Status add(const Route& route);
  // The route with the longest matching prefix, the earliest added among equals; nullptr if none.
  const Route* find(wire::Ipv4Address destination) const;
  uint32_t size() const { return count_; }
  const Route& operator[](uint32_t i) const { return routes_[i]; }

 private:
  std::array<Route, kMaxRoutes> routes_;  // by falling prefix length
  uint32_t count_ = 0;
};

}  // namespace ferry::net

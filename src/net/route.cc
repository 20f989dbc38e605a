// The routing table.
#include "net/route.h"

namespace ferry::net {

Status RouteTable::add(const Route& route) {
  if (route.destination.length > 32) return Errc::invalid;
  Route r = route;
  r.destination.address.value &= r.destination.mask();
  uint32_t at = 0;
  for (; at < count_ && routes_[at].destination.length >= r.destination.length; ++at) {
    if (routes_[at].destination == r.destination && routes_[at].link == r.link) {
      routes_[at] = r;
      return {};
    }
  }
  if (count_ == kMaxRoutes) return Errc::too_many;
  for (uint32_t i = count_; i > at; --i) routes_[i] = routes_[i - 1];
  routes_[at] = r;
  ++count_;
  return {};
}

const Route* RouteTable::find(wire::Ipv4Address destination) const {
  for (uint32_t i = 0; i < count_; ++i)
    if (routes_[i].destination.contains(destination)) return &routes_[i];
  return nullptr;
}

}  // namespace ferry::net

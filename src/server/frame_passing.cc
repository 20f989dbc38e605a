#include "server/frame_passing.h"

#include <mutex>

#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

namespace ferry::server {

bool concerns_all(ByteSpan frame) {
  auto ethernet = wire::EthernetView::parse(frame);
  if (!ethernet) return false;
  if (ethernet->type() == wire::kEtherArp) return true;
  if (ethernet->type() != wire::kEtherIpv4) return false;
  auto ip = wire::Ipv4View::parse(ethernet->payload());
  if (!ip) return false;
  if (ip->protocol() == wire::kProtocolTcp) return ip->is_fragment();
  if (ip->protocol() != wire::kProtocolIcmp || ip->is_fragment()) return false;
  auto message = wire::IcmpView::parse(ip->payload());
  return message.ok() && message->is_error();
}

void StrayFlows::add(uint16_t local_port, const stack::Endpoint& remote, uint32_t engine) {
  std::unique_lock guard(mutex_);
  flows_[key_of(local_port, remote)] = engine;
  store_release(count_, static_cast<uint32_t>(flows_.size()));
}

void StrayFlows::remove(uint16_t local_port, const stack::Endpoint& remote) {
  std::unique_lock guard(mutex_);
  flows_.erase(key_of(local_port, remote));
  store_release(count_, static_cast<uint32_t>(flows_.size()));
}

uint32_t StrayFlows::find(const buf::Frame& frame) const {
  if (load_acquire(count_) == 0) return kNone;
  auto ethernet = wire::EthernetView::parse(frame.bytes);
  if (!ethernet || ethernet->type() != wire::kEtherIpv4) return kNone;
  auto ip = wire::Ipv4View::parse(ethernet->payload(), frame.offload.uncut_v4());
  if (!ip || ip->protocol() != wire::kProtocolTcp || ip->is_fragment()) return kNone;
  const ByteSpan segment = ip->payload();
  if (segment.size() < 4) return kNone;
  const stack::Endpoint remote{wire::IpAddress::from(ip->source()), load_be16(segment, 0)};
  std::shared_lock guard(mutex_);
  auto found = flows_.find(key_of(load_be16(segment, 2), remote));
  return found == flows_.end() ? kNone : found->second;
}

}  // namespace ferry::server

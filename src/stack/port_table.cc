// Buckets and the rules of sharing; see port_table.h. The rules are those of Linux's bind(2) without SO_BINDTODEVICE: two holders of
// overlapping addresses can share a port if both have SO_REUSEADDR and the older does not listen, or both have SO_REUSEPORT and the
// same user. A socket that asks for any port gets one that it shares with nobody by SO_REUSEADDR alone.
#include "stack/port_table.h"

#include "port/api/alloc.h"

namespace ferry::stack {

PortTable::~PortTable() {
  for (PortBucket*& chain : chains_) {
    while (PortBucket* bucket = chain) {
      while (Binding* b = bucket->holders.front()) release(*b);
      if (chain == bucket) {  // cannot happen: the last holder takes the bucket with it
        chain = bucket->chain;
        destroy(bucket);
      }
    }
  }
}

PortBucket* PortTable::find(uint16_t port) const {
  PortBucket* b = chains_[port % kChains];
  while (b != nullptr && b->port != port) b = b->chain;
  return b;
}

Result<PortBucket*> PortTable::obtain(uint16_t port) {
  if (PortBucket* existing = find(port)) return existing;
  PortBucket* bucket = make<PortBucket>();
  if (bucket == nullptr) return Errc::no_memory;
  bucket->port = port;
  bucket->chain = chains_[port % kChains];
  chains_[port % kChains] = bucket;
  return bucket;
}

Status PortTable::bind(Binding& binding, uint16_t port) {
  const PortBucket* bucket = find(port);
  if (bucket != nullptr && conflicts(*bucket, binding, true)) return Errc::address_in_use;
  return join(binding, port);
}

Result<uint16_t> PortTable::bind_ephemeral(Binding& binding, uint32_t start) {
  const uint32_t count = ephemeral_count();
  for (uint32_t i = 0; i < count; ++i) {
    const uint16_t port = static_cast<uint16_t>(first_ + (start + i) % count);
    const PortBucket* bucket = find(port);
    if (bucket != nullptr && conflicts(*bucket, binding, false)) continue;
    FERRY_TRY(join(binding, port));
    return port;
  }
  return Errc::address_in_use;
}

Status PortTable::join(Binding& binding, uint16_t port) {
  FERRY_ASSERT(!binding.bound());
  auto bucket = obtain(port);
  if (!bucket) return bucket.error();
  if ((*bucket)->holders.empty()) (*bucket)->uid = binding.uid;
  (*bucket)->holders.push_back(binding);
  if (!binding.automatic) ++(*bucket)->chosen;
  count(**bucket, binding, 1);
  binding.bucket = *bucket;
  return {};
}

void PortTable::release(Binding& binding) {
  PortBucket* bucket = binding.bucket;
  if (bucket == nullptr) return;
  remove_receiver(binding);
  bucket->holders.erase(binding);
  count(*bucket, binding, ~0u);
  if (!binding.automatic) --bucket->chosen;
  binding.bucket = nullptr;
  binding.automatic = false;
  if (!bucket->holders.empty()) return;
  PortBucket** link = &chains_[bucket->port % kChains];
  while (*link != bucket) link = &(*link)->chain;
  *link = bucket->chain;
  destroy(bucket);
}

void PortTable::remove_receiver(Binding& binding) {
  if (static_cast<ListNode<ReceiverTag>&>(binding).linked()) binding.bucket->receivers.erase(binding);
}

bool PortTable::conflicts(const Binding& binding) const { return conflicts(*binding.bucket, binding, true); }

// Adds `one` (1, or -1 in the arithmetic of uint32_t) to what the holder counts for.
void PortTable::count(PortBucket& bucket, const Binding& holder, uint32_t one) {
  if (!shares_by_address(holder)) bucket.not_by_address += one;
  if (!shares_by_port(holder, bucket.uid)) bucket.not_by_port += one;
}

void PortTable::change(Binding& binding, bool& flag, bool value) {
  if (binding.bound()) count(*binding.bucket, binding, ~0u);
  flag = value;
  if (binding.bound()) count(*binding.bucket, binding, 1);
}

// Whether no holder but `binding` itself stands in its way, whatever the addresses: told by the counts.
bool PortTable::all_share(const PortBucket& bucket, const Binding& binding, bool named) {
  const bool holds = binding.bucket == &bucket;
  const uint32_t own_by_address = holds && !shares_by_address(binding) ? 1 : 0;
  const uint32_t own_by_port = holds && !shares_by_port(binding, bucket.uid) ? 1 : 0;
  return (named && binding.reuse_address && bucket.not_by_address == own_by_address) ||
         (binding.reuse_port && binding.uid == bucket.uid && bucket.not_by_port == own_by_port);
}

bool PortTable::conflicts(const PortBucket& bucket, const Binding& binding, bool named) const {
  if (all_share(bucket, binding, named)) return false;  // a server may have a socket for every client on one port
  auto& holders = const_cast<PortBucket&>(bucket).holders;
  for (const Binding* other = holders.front(); other != nullptr; other = holders.next(const_cast<Binding&>(*other))) {
    if (other == &binding) continue;
    if (!other->bound_address.is_any() && !binding.bound_address.is_any() &&
        other->bound_address != binding.bound_address)
      continue;
    if (named && binding.reuse_address && shares_by_address(*other)) continue;
    if (binding.reuse_port && shares_by_port(*other, binding.uid)) continue;
    return true;
  }
  return false;
}

}  // namespace ferry::stack

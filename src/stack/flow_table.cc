// The hash table of flows; see flow_table.h.
#include "stack/flow_table.h"

#include "port/api/alloc.h"

namespace ferry::stack {
namespace {
constexpr uint32_t kFirstChains = 256;
constexpr uint32_t kMaxChains = 1u << 20;
}  // namespace

FlowTable::~FlowTable() { port::release(chains_); }

uint32_t FlowTable::hash(uint8_t protocol, const wire::Endpoint& local, const wire::Endpoint& remote) const {
  std::byte bytes[40];
  size_t n = 0;
  if (local.address.is_v4() && remote.address.is_v4()) {  // 16 bytes: two rounds of SipHash instead of five
    store_be32(bytes, 0, local.address.v4().value);
    store_be32(bytes, 4, remote.address.v4().value);
    n = 8;
  } else {
    for (size_t i = 0; i < 16; ++i) {
      bytes[i] = std::byte{local.address.octets[i]};
      bytes[16 + i] = std::byte{remote.address.octets[i]};
    }
    n = 32;
  }
  store_be16(bytes, n, local.port);
  store_be16(bytes, n + 2, remote.port);
  bytes[n + 4] = std::byte{protocol};
  return static_cast<uint32_t>(siphash(key_, ByteSpan(bytes, n + 5)));
}

Status FlowTable::insert(Flow& flow) {
  FERRY_ASSERT(!flow.hashed);
  if (size_ >= chain_count_) grow();
  if (chain_count_ == 0) return Errc::no_memory;
  flow.flow_hash = hash(flow.protocol, flow.local, flow.remote);
  Flow*& head = chains_[flow.flow_hash & (chain_count_ - 1)];
  for (const Flow* f = head; f != nullptr; f = f->chain)
    if (f->flow_hash == flow.flow_hash && matches(*f, flow.protocol, flow.local, flow.remote)) return Errc::address_in_use;
  flow.chain = head;
  head = &flow;
  flow.hashed = true;
  ++size_;
  return {};
}

void FlowTable::erase(Flow& flow) {
  if (!flow.hashed) return;
  Flow** link = &chains_[flow.flow_hash & (chain_count_ - 1)];
  while (*link != &flow) link = &(*link)->chain;
  *link = flow.chain;
  flow.chain = nullptr;
  flow.hashed = false;
  --size_;
  if (last_ == &flow) last_ = nullptr;
}

Flow* FlowTable::find(uint8_t protocol, const wire::Endpoint& local, const wire::Endpoint& remote) {
  if (last_ != nullptr && matches(*last_, protocol, local, remote)) return last_;
  Flow* found = const_cast<Flow*>(look_up(protocol, local, remote));
  if (found != nullptr) last_ = found;
  return found;
}

const Flow* FlowTable::look_up(uint8_t protocol, const wire::Endpoint& local, const wire::Endpoint& remote) const {
  if (size_ == 0) return nullptr;
  if (last_ != nullptr && matches(*last_, protocol, local, remote)) return last_;
  const uint32_t h = hash(protocol, local, remote);
  for (const Flow* f = chains_[h & (chain_count_ - 1)]; f != nullptr; f = f->chain)
    if (f->flow_hash == h && matches(*f, protocol, local, remote)) return f;
  return nullptr;
}

// Doubles the number of chains; without memory the chains just become longer.
void FlowTable::grow() {
  if (chain_count_ == kMaxChains) return;
  const uint32_t count = chain_count_ == 0 ? kFirstChains : chain_count_ * 2;
  Flow** chains = make_array<Flow*>(count);
  if (chains == nullptr) return;
  for (uint32_t i = 0; i < chain_count_; ++i) {
    while (Flow* f = chains_[i]) {
      chains_[i] = f->chain;
      f->chain = chains[f->flow_hash & (count - 1)];
      chains[f->flow_hash & (count - 1)] = f;
    }
  }
  port::release(chains_);
  chains_ = chains;
  chain_count_ = count;
}

}  // namespace ferry::stack

// A RegionId is index (low 16 bits, from 1) and generation (high 16 bits), so that descriptors of a region that is gone find nothing.
#include "server/memory.h"

#include <sys/mman.h>

#include <stdexcept>

namespace ferry::server {

namespace {

std::byte* map_staging(uint64_t size) {
  void* p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::runtime_error("no address space for the staging memory");
  return static_cast<std::byte*>(p);
}

}  // namespace

Memory::Memory(uint64_t staging_size)
    : staging_base_(map_staging(staging_size)), staging_size_(staging_size), staging_({0, staging_size}) {
  staging_region_ = add(staging_base_, staging_size, nullptr);
}

Memory::~Memory() { munmap(staging_base_, staging_size_); }

buf::RegionId Memory::add(std::byte* base, uint64_t size, Channel* channel, PeerRegion* peers) {
  uint32_t index;
  if (!free_.empty()) {
    index = free_.back();
    free_.pop_back();
  } else {
    if (regions_.size() == 0xffff) return 0;
    index = static_cast<uint32_t>(regions_.size());
    regions_.push_back({nullptr, 0, index + 1, nullptr, nullptr});
  }
  Region& r = regions_[index];
  r.base = base;
  r.size = size;
  r.channel = channel;
  r.peers = peers;
  return r.id;
}

void Memory::remove(buf::RegionId region) {
  uint32_t index = (region & 0xffff) - 1;
  FERRY_ASSERT(index < regions_.size() && regions_[index].id == region);
  regions_[index] = {nullptr, 0, region + 0x10000, nullptr, nullptr};
  free_.push_back(index);
}

Channel* Memory::channel_of(buf::RegionId region) const {
  uint32_t index = (region & 0xffff) - 1;
  return index < regions_.size() && regions_[index].id == region ? regions_[index].channel : nullptr;
}

PeerRegion* Memory::peers_of(buf::RegionId region) const {
  uint32_t index = (region & 0xffff) - 1;
  return index < regions_.size() && regions_[index].id == region ? regions_[index].peers : nullptr;
}

const Memory::Region* Memory::find(const buf::IoDesc& d) const {
  uint32_t index = (d.region & 0xffff) - 1;
  if (index >= regions_.size()) return nullptr;
  const Region& r = regions_[index];
  if (r.id != d.region || d.offset > r.size || r.size - d.offset < d.length) return nullptr;
  return &r;
}

ByteSpan Memory::read(const buf::IoDesc& d) const {
  const Region* r = find(d);
  return r == nullptr || r->base == nullptr ? ByteSpan() : ByteSpan(r->base + d.offset, d.length);
}

MutableByteSpan Memory::write(const buf::IoDesc& d) {
  const Region* r = find(d);
  return r == nullptr || r->base == nullptr ? MutableByteSpan() : MutableByteSpan(r->base + d.offset, d.length);
}

Result<buf::IoDesc> Memory::stage(uint32_t length) {
  auto offset = staging_.allocate(length);
  if (!offset) return offset.error();
  return buf::IoDesc{*offset, length, staging_region_};
}

}  // namespace ferry::server

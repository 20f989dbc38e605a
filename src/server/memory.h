// The table of regions of one stack: turns I/O descriptors into bytes (buf::Memory), and owns the staging region, the server's own
// memory for payload that has no client yet (connections not accepted) or goes over a descriptor K (kernel mode).
#pragma once

#include <vector>

#include "buf/io_desc.h"
#include "server/input_pool.h"

namespace ferry::server {

class Channel;
class PeerRegion;

class Memory final : public buf::Memory {
 public:
  explicit Memory(uint64_t staging_size);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // A number for the mapping of a channel or of a region of two clients (neither: the server's own); numbers are not used again soon. 0 when the table is
  // full (65,535 regions).
  buf::RegionId add(std::byte* base, uint64_t size, Channel* channel, PeerRegion* peers = nullptr);
  void remove(buf::RegionId region);

  ByteSpan read(const buf::IoDesc& d) const override;
  MutableByteSpan write(const buf::IoDesc& d) override;

  // Whose region this is; nullptr for the others, and for one that is gone.
  Channel* channel_of(buf::RegionId region) const;
  PeerRegion* peers_of(buf::RegionId region) const;
  buf::RegionId staging_region() const { return staging_region_; }
  // Memory of the server's own. Errc::no_buffers when full, or length > InputPool::kBlockSize.
  Result<buf::IoDesc> stage(uint32_t length);
  void unstage(const buf::IoDesc& d) { staging_.release(d.offset, d.length); }
  uint64_t staged_bytes() const { return staging_.used_bytes(); }

 private:
  struct Region {
    std::byte* base = nullptr;
    uint64_t size = 0;
    buf::RegionId id = 0;
    Channel* channel = nullptr;
    PeerRegion* peers = nullptr;
  };
  const Region* find(const buf::IoDesc& d) const;

  std::vector<Region> regions_;
  std::vector<uint32_t> free_;
  std::byte* staging_base_;
  uint64_t staging_size_;
  InputPool staging_;
  buf::RegionId staging_region_ = 0;
};

}  // namespace ferry::server

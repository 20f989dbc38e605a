// The clients' output memory of a replayed run: pages that are filled by the recorded calls.
//
// Owns: the pages, at most kMaxPages of them. A span that read() gives is valid until the next read().
#pragma once

#include <cstdint>

#include "base/result.h"
#include "buf/io_desc.h"

namespace ferry::stack {

class ReplayMemory {
 public:
  static constexpr uint32_t kPageBytes = 4096;
  static constexpr uint32_t kMaxPages = 1u << 18;  // 1 GiB
  static constexpr uint32_t kMaxRead = 65536;

  ReplayMemory() = default;
  ~ReplayMemory();
  ReplayMemory(const ReplayMemory&) = delete;
  ReplayMemory& operator=(const ReplayMemory&) = delete;

  // Writes `bytes` to where `d` begins; bytes beyond its length are ignored. Errc::no_memory.
  Status fill(const buf::IoDesc& d, ByteSpan bytes);
  // Empty for what was never filled, or is longer than kMaxRead.
  ByteSpan read(const buf::IoDesc& d);

 private:
  struct Page {
    Page* chain;
    uint64_t number;  // offset / kPageBytes
    buf::RegionId region;
    std::byte bytes[kPageBytes];
  };
  static constexpr uint32_t kChains = 4096;
  static uint32_t chain_of(buf::RegionId region, uint64_t number) {
    return static_cast<uint32_t>(((number + region) * 0x9e3779b97f4a7c15ULL) >> 52);
  }
  Page* find(buf::RegionId region, uint64_t number) const;

  Page* chains_[kChains] = {};
  uint32_t count_ = 0;
  std::byte scratch_[kMaxRead];
};

}  // namespace ferry::stack

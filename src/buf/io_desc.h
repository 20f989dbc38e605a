// I/O descriptors: how protocol servers speak of payload without touching it (docs/architecture.md, "I/O descriptors").
//
// An IoDesc names bytes in a region; who owns the region decides what they are (a client's pool, pages by reference, the
// server's own memory). The core moves, trims and concatenates descriptors; only Memory turns one into bytes.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"

namespace ferry::buf {

// Number of a region in the table of this stack's host. 0 is never a region.
using RegionId = uint32_t;

struct IoDesc {
  uint64_t offset = 0;  // bytes from the start of the region
  uint32_t length = 0;  // bytes
  RegionId region = 0;

  constexpr bool empty() const { return length == 0; }
  // The same bytes without the first n / only the first n; n <= length.
  constexpr IoDesc without_prefix(uint32_t n) const { return {offset + n, length - n, region}; }
  constexpr IoDesc prefix(uint32_t n) const { return {offset, n, region}; }
  // Whether `next` begins where this one ends, so that both can be one descriptor.
  constexpr bool adjoins(const IoDesc& next) const {
    return region == next.region && offset + length == next.offset && uint64_t{length} + next.length <= UINT32_MAX;
  }
  friend constexpr bool operator==(const IoDesc&, const IoDesc&) = default;
};

// The only way from a descriptor to bytes. Implemented by the host of a stack (ferryd, a test, the kernel module).
// Total: a descriptor whose region is gone or that leaves its region gives an empty span, never a fault.
class Memory {
 public:
  virtual ByteSpan read(const IoDesc& d) const = 0;
  virtual MutableByteSpan write(const IoDesc& d) = 0;

 protected:
  ~Memory() = default;
};

}  // namespace ferry::buf

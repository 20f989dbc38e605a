// Interposes malloc and its relatives: large allocations come from regions (client/regions.h), everything else is the business of the
// allocator behind us. malloc(3), posix_memalign(3), malloc_usable_size(3); "Replacing malloc" in the manual of libc.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>

#include "allocation/next.h"
#include "client/region.h"
#include "client/regions.h"
#include "preload/real.h"

namespace ferry::allocation {
namespace {

namespace regions = client::regions;
constexpr size_t kLargestAlignment = client::Region::kPage;

// nullptr: ordinary memory.
inline void* allocate_large(size_t n, bool zeroed) {
  if (n < regions::kLeastAllocation) [[likely]] return nullptr;
  const Next* behind = next();
  return behind != nullptr && behind->is_libc ? regions::allocate(n, zeroed) : nullptr;
}

// Bytes of our allocation at p, 0: it is none. A program's own allocator may have its mappings in regions, and what it gives out of them is its.
size_t size_of(const void* p) { return regions::contains(p) ? regions::size_of(p) : 0; }

void* reallocate_large(void* p, size_t size, size_t n) {
  if (n == 0) {
    regions::release(p);
    return nullptr;
  }
  if (n <= size && n > size / 2) return p;
  void* fresh = ::malloc(n);
  if (fresh == nullptr) return nullptr;
  memcpy(fresh, p, std::min(n, size));
  regions::release(p);
  return fresh;
}

}  // namespace

FERRY_EXPORT void* malloc(size_t n) {
  if (void* p = allocate_large(n, false)) return p;
  const Next* behind = next();
  return behind != nullptr ? behind->malloc(n) : early_allocate(n, alignof(max_align_t));
}

FERRY_EXPORT void* calloc(size_t count, size_t size) {
  size_t n = 0;
  if (!__builtin_mul_overflow(count, size, &n))
    if (void* p = allocate_large(n, true)) return p;
  const Next* behind = next();
  return behind != nullptr ? behind->calloc(count, size) : early_allocate(n, alignof(max_align_t));
}

FERRY_EXPORT void free(void* p) {
  if (size_of(p) != 0) return regions::release(p);
  if (const Next* behind = next(); behind != nullptr && !is_early(p)) behind->free(p);
}

FERRY_EXPORT void* realloc(void* p, size_t n) {
  if (const size_t size = size_of(p); size != 0) return reallocate_large(p, size, n);
  const Next* behind = next();
  if (behind == nullptr || is_early(p)) {
    void* fresh = ::malloc(n);
    if (fresh != nullptr && p != nullptr) memcpy(fresh, p, std::min(n, early_bytes(p)));
    return fresh;
  }
  // What grows large moves here; what is large elsewhere stays: the system moves it without a copy.
  if (n >= regions::kLeastAllocation && (p == nullptr || behind->malloc_usable_size(p) < regions::kLeastAllocation)) {
    if (void* fresh = allocate_large(n, false)) {
      if (p != nullptr) memcpy(fresh, p, behind->malloc_usable_size(p));
      behind->free(p);
      return fresh;
    }
  }
  return behind->realloc(p, n);
}

FERRY_EXPORT void* reallocarray(void* p, size_t count, size_t size) {
  size_t n = 0;
  if (__builtin_mul_overflow(count, size, &n)) return errno = ENOMEM, nullptr;
  return ::realloc(p, n);
}

FERRY_EXPORT void* memalign(size_t alignment, size_t n) {
  if (alignment <= kLargestAlignment)
    if (void* p = allocate_large(n, false)) return p;
  const Next* behind = next();
  return behind != nullptr ? behind->memalign(alignment, n) : early_allocate(n, alignment);
}

FERRY_EXPORT void* aligned_alloc(size_t alignment, size_t n) {
  if (alignment <= kLargestAlignment)
    if (void* p = allocate_large(n, false)) return p;
  const Next* behind = next();
  return behind != nullptr ? behind->aligned_alloc(alignment, n) : early_allocate(n, alignment);
}

FERRY_EXPORT int posix_memalign(void** out, size_t alignment, size_t n) {
  const bool good = alignment % sizeof(void*) == 0 && (alignment & (alignment - 1)) == 0 && alignment != 0;
  if (good && alignment <= kLargestAlignment)
    if (void* p = allocate_large(n, false)) return *out = p, 0;
  const Next* behind = next();
  return behind != nullptr ? behind->posix_memalign(out, alignment, n) : ENOMEM;
}

FERRY_EXPORT void* valloc(size_t n) {
  if (void* p = allocate_large(n, false)) return p;
  const Next* behind = next();
  return behind != nullptr ? behind->valloc(n) : nullptr;
}

FERRY_EXPORT void* pvalloc(size_t n) {
  if (void* p = allocate_large(n, false)) return p;
  const Next* behind = next();
  return behind != nullptr ? behind->pvalloc(n) : nullptr;
}

FERRY_EXPORT size_t malloc_usable_size(void* p) {
  if (const size_t size = size_of(p); size != 0) return size;
  const Next* behind = next();
  return behind != nullptr && p != nullptr && !is_early(p) ? behind->malloc_usable_size(p) : 0;
}

}  // namespace ferry::allocation

#include "allocation/next.h"

#include <dlfcn.h>

#include "base/atomics.h"
#include "ipc/syscall.h"

namespace ferry::allocation {
namespace {

enum : uint32_t { kUnknown, kSearching, kKnown };
uint32_t g_state = kUnknown;
long g_searcher = 0;
Next g_next = {};

alignas(64) std::byte g_early[64 * 1024];
size_t g_early_used = 0;

template <typename F>
void find(F& function, const char* name) {
  function = reinterpret_cast<F>(dlsym(RTLD_NEXT, name));
}

const void* object_of(const void* address) {
  Dl_info info{};
  return dladdr(address, &info) != 0 ? info.dli_fbase : nullptr;
}

void search() {
  find(g_next.malloc, "malloc");
  find(g_next.calloc, "calloc");
  find(g_next.realloc, "realloc");
  find(g_next.reallocarray, "reallocarray");
  find(g_next.free, "free");
  find(g_next.memalign, "memalign");
  find(g_next.aligned_alloc, "aligned_alloc");
  find(g_next.posix_memalign, "posix_memalign");
  find(g_next.valloc, "valloc");
  find(g_next.pvalloc, "pvalloc");
  find(g_next.malloc_usable_size, "malloc_usable_size");
#ifdef FERRY_SANITIZE
  const void* libc = dlsym(RTLD_NEXT, "__asan_init");
#else
  const void* libc = dlsym(RTLD_NEXT, "gnu_get_libc_version");
#endif
  g_next.is_libc = libc != nullptr && object_of(libc) == object_of(reinterpret_cast<const void*>(g_next.malloc));
}

}  // namespace

const Next* next() {
  if (load_acquire(g_state) == kKnown) [[likely]] return &g_next;
  const long self = ipc::raw_syscall(SYS_gettid);
  if (compare_exchange(g_state, uint32_t{kUnknown}, uint32_t{kSearching})) {
    store_relaxed(g_searcher, self);
    search();
    store_release(g_state, uint32_t{kKnown});
    return &g_next;
  }
  if (load_relaxed(g_searcher) == self) return nullptr;
  while (load_acquire(g_state) != kKnown) ipc::raw_syscall(SYS_sched_yield);
  return &g_next;
}

void* early_allocate(size_t n, size_t alignment) {
  const size_t at = (g_early_used + alignment - 1) / alignment * alignment;
  if (n > sizeof g_early - at) return nullptr;
  g_early_used = at + n;
  return g_early + at;
}

size_t early_bytes(const void* p) { return g_early_used - static_cast<size_t>(static_cast<const std::byte*>(p) - g_early); }

bool is_early(const void* p) { return static_cast<size_t>(static_cast<const std::byte*>(p) - g_early) < sizeof g_early; }

}  // namespace ferry::allocation

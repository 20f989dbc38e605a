// Interposes mmap and its relatives: large anonymous mappings come from regions (client/regions.h) and behave like any other; calls that do
// not concern regions go to the kernel as they are. mmap(2), mremap(2), madvise(2), mprotect(2).
#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "allocation/next.h"
#include "client/guarded_copy.h"
#include "client/regions.h"
#include "ipc/control.h"
#include "ipc/syscall.h"
#include "preload/descriptor.h"
#include "preload/real.h"

namespace ferry::allocation {
namespace {

namespace regions = client::regions;
using ipc::arg;
using ipc::raw_syscall;

constexpr size_t kSmallPage = 4096;
constexpr size_t kLeastAnonymous = size_t{2} << 20;  // bytes: smaller ones are mostly arenas of allocators, not buffers
constexpr size_t kLeastFile = ipc::control::kLeastReference;  // of an empty file: has no other use than as a buffer

size_t whole_pages(size_t n) { return (n + kSmallPage - 1) / kSmallPage * kSmallPage; }
bool is_page_start(const void* p) { return reinterpret_cast<uintptr_t>(p) % kSmallPage == 0; }

void* to_pointer(long result) {
  if (result < 0 && result > -4096) return errno = static_cast<int>(-result), MAP_FAILED;
  return reinterpret_cast<void*>(result);
}
int to_status(long result) {
  if (result < 0) return errno = static_cast<int>(-result), -1;
  return 0;
}

// A private mapping of a file that holds nothing and that nobody can open any more is anonymous memory by another name (iperf3 has its
// buffers so).
bool is_empty_unlinked_file(int fd, size_t n, off_t offset) {
  struct stat file;
  return raw_syscall(SYS_fstat, fd, arg(&file)) == 0 && S_ISREG(file.st_mode) && file.st_nlink == 0 && file.st_blocks == 0 &&
         offset >= 0 && whole_pages(static_cast<size_t>(file.st_size)) >= static_cast<size_t>(offset) + n;
}

// Whether a region's memory is all that is asked for.
bool is_plain(void* at, size_t n, int protection, int flags, int fd, off_t offset) {
  if (at != nullptr || protection != (PROT_READ | PROT_WRITE)) return false;
  if ((flags & ~(MAP_POPULATE | MAP_NORESERVE)) == (MAP_PRIVATE | MAP_ANONYMOUS)) return n >= kLeastAnonymous;
  return flags == MAP_PRIVATE && n >= kLeastFile && is_empty_unlinked_file(fd, n, offset);
}

void* map(void* at, size_t n, int protection, int flags, int fd, off_t offset) {
  if (is_plain(at, n, protection, flags, fd, offset))
    if (void* p = regions::map(n)) return p;
  const bool over_a_region = (flags & MAP_FIXED) != 0 && is_page_start(at) && regions::overlaps(at, n);
  if (over_a_region) regions::lend_address_space(at, whole_pages(n));
  return to_pointer(raw_syscall(SYS_mmap, arg(at), static_cast<long>(n), protection, flags, fd, offset));
}

// mremap of region memory: shrinks in place, grows by moving to a mapping of its own.
void* remap(std::byte* old, size_t old_size, size_t new_size, int flags, void* target) {
  if (!is_page_start(old) || old_size == 0 || new_size == 0 || (flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED)) != 0) return to_pointer(-EINVAL);
  old_size = whole_pages(old_size);
  new_size = whole_pages(new_size);
  const bool fixed = (flags & MREMAP_FIXED) != 0;
  if (!fixed && new_size <= old_size) {
    if (new_size < old_size) regions::unmap(old + new_size, old_size - new_size);
    return old;
  }
  if ((flags & MREMAP_MAYMOVE) == 0) return to_pointer(fixed ? -EINVAL : -ENOMEM);
  void* fresh = map(fixed ? target : nullptr, new_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | (fixed ? MAP_FIXED : 0), -1, 0);
  if (fresh == MAP_FAILED) return fresh;
  if (!client::guarded_copy(fresh, old, old_size < new_size ? old_size : new_size)) {
    raw_syscall(SYS_munmap, arg(fresh), static_cast<long>(new_size));
    return to_pointer(-EFAULT);
  }
  regions::unmap(old, old_size);
  return fresh;
}

// madvise of region memory. True: done, with `result`.
bool advise(void* at, size_t n, int advice, long& result) {
  switch (advice) {
    case MADV_DONTNEED: case MADV_FREE:
      regions::clear(at, whole_pages(n));
      return result = 0, true;
    case MADV_REMOVE:  // not for private memory
      return result = -EINVAL, true;
    case MADV_DONTFORK: case MADV_DOFORK: case MADV_WIPEONFORK: case MADV_KEEPONFORK:  // of the mapping that is there
      regions::set_apart(at, n);
      return false;
    default: return false;  // hints
  }
}

}  // namespace

FERRY_EXPORT void* mmap(void* at, size_t n, int protection, int flags, int fd, off_t offset) noexcept {
  return map(at, n, protection, flags, fd, offset);
}
FERRY_EXPORT void* mmap64(void* at, size_t n, int protection, int flags, int fd, off64_t offset) noexcept {
  return map(at, n, protection, flags, fd, offset);
}

FERRY_EXPORT int munmap(void* at, size_t n) noexcept {
  if (n != 0 && is_page_start(at) && regions::overlaps(at, n)) {
    // What lies around regions goes the usual way; the address space of regions itself stays reserved.
    auto* from = static_cast<std::byte*>(at);
    std::byte *to = from + whole_pages(n), *begin = regions::g_begin, *end = begin + regions::g_size;
    regions::unmap(at, whole_pages(n));
    if (from < begin) raw_syscall(SYS_munmap, arg(from), begin - from);
    if (to > end) raw_syscall(SYS_munmap, arg(end), to - end);
    return 0;
  }
  return to_status(raw_syscall(SYS_munmap, arg(at), static_cast<long>(n)));
}

FERRY_EXPORT void* mremap(void* old, size_t old_size, size_t new_size, int flags, ...) noexcept {
  va_list arguments;
  va_start(arguments, flags);
  void* target = (flags & MREMAP_FIXED) != 0 ? va_arg(arguments, void*) : nullptr;
  va_end(arguments);
  if (regions::contains(old)) return remap(static_cast<std::byte*>(old), old_size, new_size, flags, target);
  if (target != nullptr && is_page_start(target) && regions::overlaps(target, new_size))
    regions::lend_address_space(target, whole_pages(new_size));
  return to_pointer(raw_syscall(SYS_mremap, arg(old), static_cast<long>(old_size), static_cast<long>(new_size), flags, arg(target)));
}

FERRY_EXPORT int madvise(void* at, size_t n, int advice) noexcept {
  long result = 0;
  if (n != 0 && is_page_start(at) && regions::overlaps(at, n) && advise(at, n, advice, result)) return to_status(result);
  return to_status(raw_syscall(SYS_madvise, arg(at), static_cast<long>(n), advice));
}

FERRY_EXPORT int mprotect(void* at, size_t n, int protection) noexcept {
  if (n != 0 && is_page_start(at) && regions::overlaps(at, n)) regions::set_apart(at, whole_pages(n));
  return to_status(raw_syscall(SYS_mprotect, arg(at), static_cast<long>(n), protection));
}

}  // namespace ferry::allocation

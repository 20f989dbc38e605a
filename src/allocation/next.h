// The allocation functions behind ours: the program's own allocator if it brings one, else libc's. malloc(3).
#pragma once

#include <cstddef>

namespace ferry::allocation {

struct Next {
  void* (*malloc)(size_t);
  void* (*calloc)(size_t, size_t);
  void* (*realloc)(void*, size_t);
  void* (*reallocarray)(void*, size_t, size_t);
  void (*free)(void*);
  void* (*memalign)(size_t, size_t);
  void* (*aligned_alloc)(size_t, size_t);
  int (*posix_memalign)(void**, size_t, size_t);
  void* (*valloc)(size_t);
  void* (*pvalloc)(size_t);
  size_t (*malloc_usable_size)(void*);
  bool is_libc;  // else pointers may go to functions of that allocator which we do not know: none of its memory is ours
};

// nullptr while this thread is looking them up (dlsym may allocate): use early_allocate().
const Next* next();

// Zeroed memory for that moment, never given back. nullptr: used up.
void* early_allocate(size_t n, size_t alignment);
bool is_early(const void* p);
// Bytes of such memory from p on that can be read: its own, and perhaps of others.
size_t early_bytes(const void* p);

}  // namespace ferry::allocation

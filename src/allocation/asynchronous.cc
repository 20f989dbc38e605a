// Programs for which the kernel writes to memory when the call that asked for it has returned: libaio's io_setup(2), and liburing's rings, which it
// sets up behind syscall(2). From then on nobody is alone in this memory (client::is_only_writer).
#include <dlfcn.h>

#include <cerrno>

#include "client/process.h"
#include "preload/real.h"

namespace ferry::allocation {
namespace {

// The function of that name behind ours; both libraries return -errno.
template <typename... A>
int call_next(const char* name, A... arguments) {
  client::set_memory_shared();
  const auto next = reinterpret_cast<int (*)(A...)>(dlsym(RTLD_NEXT, name));
  return next != nullptr ? next(arguments...) : -ENOSYS;
}

}  // namespace

FERRY_EXPORT int io_setup(int events, void** context) { return call_next("io_setup", events, context); }
FERRY_EXPORT int io_uring_queue_init(unsigned entries, void* ring, unsigned flags) {
  return call_next("io_uring_queue_init", entries, ring, flags);
}
FERRY_EXPORT int io_uring_queue_init_params(unsigned entries, void* ring, void* parameters) {
  return call_next("io_uring_queue_init_params", entries, ring, parameters);
}
FERRY_EXPORT int io_uring_queue_init_mem(unsigned entries, void* ring, void* parameters, void* memory, size_t size) {
  return call_next("io_uring_queue_init_mem", entries, ring, parameters, memory, size);
}

}  // namespace ferry::allocation

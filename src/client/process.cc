#include "client/process.h"

#include <sys/mman.h>
#include <sys/single_threaded.h>

#include "ipc/syscall.h"

namespace ferry::client {

const uint32_t* g_process_word = nullptr;

namespace {

// Of the last process that assigned itself one: ordinary memory, so that a child goes on counting from its parent's.
uint32_t g_last_token = 0;

uint32_t* map_word() {
  using ipc::arg;
  using ipc::raw_syscall;
  const long r = raw_syscall(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (r < 0 && r > -4096) return nullptr;
  auto* word = reinterpret_cast<uint32_t*>(r);
  if (raw_syscall(SYS_madvise, r, 4096, MADV_WIPEONFORK) != 0) {  // Linux before 4.14
    raw_syscall(SYS_munmap, r, 4096);
    return nullptr;
  }
  const uint32_t* none = nullptr;
  if (!__atomic_compare_exchange_n(&g_process_word, &none, word, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
    raw_syscall(SYS_munmap, r, 4096);
  return const_cast<uint32_t*>(__atomic_load_n(&g_process_word, __ATOMIC_ACQUIRE));
}

bool g_confined = false;  // atomic
bool g_memory_shared = false;  // atomic

}  // namespace

bool is_only_writer() { return __libc_single_threaded && !__atomic_load_n(&g_memory_shared, __ATOMIC_RELAXED); }
void set_memory_shared() { __atomic_store_n(&g_memory_shared, true, __ATOMIC_RELAXED); }

void set_confined(bool on) { __atomic_store_n(&g_confined, on, __ATOMIC_RELAXED); }
bool is_confined() { return __atomic_load_n(&g_confined, __ATOMIC_RELAXED); }

uint32_t assign_process_token() {
  uint32_t* word = const_cast<uint32_t*>(__atomic_load_n(&g_process_word, __ATOMIC_ACQUIRE));
  if (word == nullptr) word = map_word();
  // Without the page the pid has to do, at a system call each time.
  if (word == nullptr) return static_cast<uint32_t>(ipc::raw_syscall(SYS_getpid));
  const uint32_t mine = __atomic_add_fetch(&g_last_token, 1, __ATOMIC_RELAXED);
  uint32_t found = 0;
  if (__atomic_compare_exchange_n(word, &found, mine, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) return mine;
  return found;  // another thread of this process was first
}

}  // namespace ferry::client

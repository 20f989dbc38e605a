// Owns the table of libc's own functions (real.h). dlsym(3).
#include "preload/real.h"

#include <dlfcn.h>
#include <string.h>

#include "ipc/syscall.h"

namespace ferry::preload {

Real g_real;
bool g_real_ready = false;

namespace {

// Nothing works without libc's function: say so by raw system calls and stop.
[[noreturn]] void missing(const char* name) {
  static const char kText[] = "libferry: this libc has no ";
  ipc::raw_syscall(SYS_write, 2, ipc::arg(kText), sizeof(kText) - 1);
  ipc::raw_syscall(SYS_write, 2, ipc::arg(name), static_cast<long>(strlen(name)));
  ipc::raw_syscall(SYS_write, 2, ipc::arg("\n"), 1);
  __builtin_trap();
}

void* find(const char* name, bool required) {
  void* symbol = dlsym(RTLD_NEXT, name);
  if (symbol == nullptr && required) missing(name);
  return symbol;
}

}  // namespace

void resolve_real_functions() {
#define FERRY_REAL(name) g_real.name = reinterpret_cast<decltype(g_real.name)>(find(#name, true));
#define FERRY_REAL_AS(name, ...) FERRY_REAL(name)
#define FERRY_OPTIONAL(name, ...) g_real.name = reinterpret_cast<decltype(g_real.name)>(find(#name, false));
#include "preload/real_functions.inc"
#undef FERRY_REAL
#undef FERRY_REAL_AS
#undef FERRY_OPTIONAL
  __atomic_store_n(&g_real_ready, true, __ATOMIC_RELEASE);
}

}  // namespace ferry::preload

// The scheme `emulated` in this process: regions are served, and clone leaves parent and child apart, as fork does (preload/fork.cc). clone(2).
#include <dlfcn.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "client/process.h"
#include "client/regions.h"
#include "preload/process.h"
#include "preload/real.h"

namespace ferry::allocation {
namespace {

namespace regions = client::regions;

// After libferry's own start (preload/process.cc), which configures channels.
[[gnu::constructor(102)]] void at_load() {
  preload::start_process();
  const char* scheme = getenv("FERRY_SCHEME");
  if (scheme == nullptr || strcmp(scheme, "emulated") != 0) return;
  regions::enable();
}

// What a child that clone(2) makes begins with.
struct ChildStart {
  int (*function)(void*);
  void* argument;
};
int start_child(void* start) {
  const ChildStart child = *static_cast<ChildStart*>(start);
  regions::after_fork_in_child();
  return child.function(child.argument);
}

}  // namespace

// A child with memory of its own is one of fork's kind. `start` is in memory that it has a copy of.
FERRY_EXPORT int clone(int (*function)(void*), void* stack, int flags, void* argument, ...) noexcept {
  using Clone = int (*)(int (*)(void*), void*, int, void*, ...);
  static const auto behind = reinterpret_cast<Clone>(dlsym(RTLD_NEXT, "clone"));
  va_list arguments;
  va_start(arguments, argument);
  void* rest[3];
  for (void*& value : rest) value = va_arg(arguments, void*);
  va_end(arguments);
  if ((flags & (CLONE_VM | CLONE_VFORK)) == CLONE_VM) client::set_memory_shared();
  if ((flags & CLONE_VM) != 0) return behind(function, stack, flags, argument, rest[0], rest[1], rest[2]);
  ChildStart start{function, argument};
  regions::before_fork();
  const int child = behind(start_child, stack, flags, &start, rest[0], rest[1], rest[2]);
  regions::after_fork_in_parent();
  return child;
}

}  // namespace ferry::allocation

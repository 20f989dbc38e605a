// The libc functions behind the ones that libferry interposes, found with dlsym(RTLD_NEXT) before first use.
// Inside libferry nobody calls an interposed function by its name: `real().close(fd)`, never `close(fd)`; the test
// preload_symbols looks for violations in the built library.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <type_traits>

// Marks a function that takes libc's place in the program.
#define FERRY_EXPORT extern "C" __attribute__((visibility("default")))

namespace ferry::preload {

struct Real {
#define FERRY_REAL(name) decltype(&::name) name;
#define FERRY_REAL_AS(name, ...) std::add_pointer_t<__VA_ARGS__> name;
#define FERRY_OPTIONAL(name, ...) std::add_pointer_t<__VA_ARGS__> name;
#include "preload/real_functions.inc"
#undef FERRY_REAL
#undef FERRY_REAL_AS
#undef FERRY_OPTIONAL
};

extern Real g_real;
extern bool g_real_ready;

// Fills g_real. Idempotent: two threads that race store the same pointers.
void resolve_real_functions();

inline const Real& real() {
  if (!__atomic_load_n(&g_real_ready, __ATOMIC_ACQUIRE)) [[unlikely]] resolve_real_functions();
  return g_real;
}

}  // namespace ferry::preload

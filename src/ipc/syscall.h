// System calls without libc: the bare instruction. Everything in ipc/ that enters the kernel goes through here, so that code
// running inside a client never reaches an interposed libc function, never changes errno and is no cancellation point.
//
// Owns: raw_syscall(). Results are the kernel's: >= 0, or -errno (see syscalls(2), x86-64 calling convention).
#pragma once

#include <sys/syscall.h>

namespace ferry::ipc {

inline long raw_syscall(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

// A pointer as a system call argument.
inline long arg(const void* p) { return reinterpret_cast<long>(p); }

}  // namespace ferry::ipc

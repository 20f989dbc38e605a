// Which process we are, without a system call, however it came to be: fork, a bare clone, vfork.
//
// One page is mapped MADV_WIPEONFORK: in a child with its own memory it reads zero, and the child then gives itself a number
// that its parent never had. A vfork child shares its parent's memory, and its number: it is the parent for our purposes.
#pragma once

#include <cstdint>

namespace ferry::client {

// Points at the wiped page's word; valid after the first process_token().
extern const uint32_t* g_process_word;
uint32_t assign_process_token();

// The number of this process, never 0. A thread's first call in a child may take a system call, later ones one load.
inline uint32_t process_token() {
  if (__builtin_expect(g_process_word != nullptr, 1)) {
    const uint32_t token = __atomic_load_n(g_process_word, __ATOMIC_RELAXED);
    if (__builtin_expect(token != 0, 1)) return token;
  }
  return assign_process_token();
}

// Whether nobody but the caller writes to this memory: there is one thread, no process shares it (clone(2) with CLONE_VM), and the kernel
// does not write to it after a call has returned (io_setup(2), io_uring(7)).
bool is_only_writer();
void set_memory_shared();

// Whether this process has, or is about to have, a seccomp filter, which may kill it for system calls that the program does not make.
void set_confined(bool on);
bool is_confined();

}  // namespace ferry::client

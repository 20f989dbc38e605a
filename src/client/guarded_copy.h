// Memory that the program names and that may not be there: copies that end in `false` instead of SIGSEGV or SIGBUS, so that a bad
// pointer gives EFAULT as from the kernel.
//
//   copy: remembers its stack pointer in ferry_guard --fault--> the process's signal handler calls fix_guarded_fault(), which sends the
//   thread to the exit of the copy --> false
//
// Works where a handler for SIGSEGV and SIGBUS calls fix_guarded_fault() first (preload/signals.cc). A thread that blocks these signals
// is ended by the kernel, as for any fault. Cost of a copy that goes well: a call and a few pushes. x86-64.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ferry::client {

// memcpy. False: some of it is not there; what lies in front of that may have been copied.
[[nodiscard]] bool guarded_copy(void* to, const void* from, size_t n);
// The same by stores that go past the caches; visible to other processors when it returns. For large n.
[[nodiscard]] bool guarded_stream(void* to, const void* from, size_t n);
// Whether all bytes can be read / read and written now (one byte a page is touched; nothing changes).
[[nodiscard]] bool is_readable(const void* p, size_t n);
[[nodiscard]] bool is_writable(void* p, size_t n);

// For the handler of SIGSEGV and SIGBUS, with its third argument. True: it was a guarded copy, and the handler is to return.
bool fix_guarded_fault(void* ucontext);

}  // namespace ferry::client

// Signal handlers and libferry. A handler may interrupt a section in which this thread holds a lock of a socket, and call send() on
// the same socket (allowed by signal-safety(7)) or leave by siglongjmp. So handlers run through a trampoline: inside a critical
// section (client/critical.h) the signal is put aside, all signals are blocked, and it is sent again when the section ends.
// SIGSEGV and SIGBUS always have the trampoline: a bad pointer that a call on a Ferry socket meets gives EFAULT
// (client/guarded_copy.h). The program sees the disposition that it chose.
#pragma once

#include <cstddef>

namespace ferry::preload {

inline constexpr size_t kKernelSetSize = 8;  // bytes of the kernel's sigset, sigprocmask(2)

// Installs what is needed. Returns the signal that tells of ferryd's death (client::Config::lifeline_signal); 0: none.
int start_signals();

}  // namespace ferry::preload

// Signal handlers and libferry. A handler may interrupt a section in which this thread holds a lock of a socket, and call send() on
// the same socket (allowed by signal-safety(7)) or leave by siglongjmp. So handlers run through a trampoline: inside a critical
// section (client/critical.h) the signal is put aside, all signals but faults are blocked, and it is sent again when the section ends.
// SIGSEGV and SIGBUS always have the trampoline: a bad pointer that a call on a Ferry socket meets gives EFAULT
// (client/guarded_copy.h). The program sees the disposition that it chose.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ferry::preload {

inline constexpr size_t kKernelSetSize = 8;  // bytes of the kernel's sigset, sigprocmask(2)

// How many handlers have run in a thread: with SA_RESTART, and without. For calls that the kernel would restart and we wait for by one that
// it never does, poll(2) (signal(7), "Interruption of system calls and library functions by signal handlers").
struct HandlersRun {
  uint32_t restarting, interrupting;
};
// Of this thread so far.
HandlersRun handlers_run();
// After EINTR: whether the call is to go on, because only handlers with SA_RESTART have run since.
bool restarts(const HandlersRun& before);

// Installs what is needed. Returns the signal that tells of ferryd's death (client::Config::lifeline_signal); 0: none.
int start_signals();

}  // namespace ferry::preload

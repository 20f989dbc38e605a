// Sets of signals as the kernel's system calls take them: 64 bits, signal 1 in the lowest. sigprocmask(2).
#pragma once

#include <signal.h>

#include <cstdint>

namespace ferry::ipc {

constexpr uint64_t bit_of(int signal) { return uint64_t{1} << (signal - 1); }
// What an instruction raises: blocked, it ends the program.
constexpr uint64_t kFaultSignals = bit_of(SIGSEGV) | bit_of(SIGBUS) | bit_of(SIGILL) | bit_of(SIGFPE) | bit_of(SIGTRAP) | bit_of(SIGSYS);

}  // namespace ferry::ipc

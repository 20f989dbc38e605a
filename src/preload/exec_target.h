// What a program file is, before it is executed: does the dynamic linker load libferry into it?
#pragma once

#include <sys/types.h>

#include <string>

namespace ferry::preload {

enum class ExecTarget {
  loads_ferry,  // an ELF program of our kind with the dynamic linker, or a script for one
  static_file,  // no dynamic linker: its system calls cannot be intercepted
  foreign,      // another machine type or C library: libferry cannot be loaded
  go,           // a Go program with the dynamic linker: it makes its system calls itself, past libc and libferry
  privileged,   // set-user-ID, set-group-ID or file capabilities: the dynamic linker ignores LD_PRELOAD (ld.so(8))
  unknown,      // cannot be read or recognised; execve will say why
};

// Follows "#!" lines as execve(2) does. Reads the file only; errno is preserved.
ExecTarget inspect_exec_target(const char* path);
// The same for an open descriptor.
ExecTarget inspect_exec_target_fd(int fd);

// Where execvp(3) would find `file`; empty when nowhere.
std::string find_executable(const char* file);

const char* exec_target_name(ExecTarget target);

}  // namespace ferry::preload

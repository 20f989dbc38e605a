// The numbers that name the entries of a directory of proc(5).
#pragma once

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>

#include "ipc/owned_fd.h"
#include "ipc/syscall.h"

namespace ferry::preload {

struct linux_dirent64 {
  uint64_t inode;
  int64_t offset;
  uint16_t length;
  uint8_t type;
  char name[];
};

// Calls `visit` with each number and the directory's own descriptor. By system calls only: opendir takes memory and a
// number for long.
template <typename Visit>
void for_each_number_in(const char* path, Visit visit) {
  ipc::OwnedFd directory(
      static_cast<int>(ipc::raw_syscall(SYS_openat, AT_FDCWD, ipc::arg(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
  if (!directory.valid()) return;
  alignas(8) char buffer[2048];
  long size = 0;
  while ((size = ipc::raw_syscall(SYS_getdents64, directory.get(), ipc::arg(buffer), sizeof(buffer))) > 0) {
    for (long at = 0; at < size;) {
      auto* entry = reinterpret_cast<linux_dirent64*>(buffer + at);
      at += entry->length;
      if (entry->name[0] < '0' || entry->name[0] > '9') continue;
      visit(atoi(entry->name), directory.get());
    }
  }
}

}  // namespace ferry::preload

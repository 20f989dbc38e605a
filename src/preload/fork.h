// Making processes by copying this one.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "client/stock.h"

namespace ferry::preload {

// fork(2) with libferry's own state consistent in the child. -1 and errno on failure.
pid_t fork_process();
// Has every fork of libc, also its own (forkpty), seen. Once, at start.
void watch_forks();
// A clone with these flags (clone(2)) follows.
void before_clone(uint64_t flags);

// While a program is started by a call inside libc, which copies descriptors unseen.
class UnseenCopies {
 public:
  UnseenCopies() { client::Stock::forget_copies(); }
  ~UnseenCopies() { client::Stock::forget_copies(); }
  UnseenCopies(const UnseenCopies&) = delete;
  UnseenCopies& operator=(const UnseenCopies&) = delete;
};

}  // namespace ferry::preload

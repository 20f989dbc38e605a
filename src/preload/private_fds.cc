// Owns the set of libferry's own descriptors (private_fds.h).
#include "preload/private_fds.h"

#include <fcntl.h>
#include <sys/resource.h>

#include "ipc/syscall.h"

namespace ferry::preload {

namespace {
constinit PrivateFds g_private;
}

PrivateFds& private_fds() { return g_private; }

void PrivateFds::add(int fd) {
  if (static_cast<unsigned>(fd) >= kMaxFds) return;
  uint64_t bit = uint64_t{1} << (fd % 64);
  if ((words_[fd / 64].fetch_or(bit) & bit) == 0) count_.fetch_add(1);
}

void PrivateFds::remove(int fd) {
  if (static_cast<unsigned>(fd) >= kMaxFds) return;
  uint64_t bit = uint64_t{1} << (fd % 64);
  if ((words_[fd / 64].fetch_and(~bit) & bit) != 0) count_.fetch_sub(1);
}

int PrivateFds::next(unsigned from, unsigned to) const {
  if (count_.load(std::memory_order_relaxed) == 0) return -1;
  if (to >= kMaxFds) to = kMaxFds - 1;
  for (unsigned fd = from; fd <= to; ++fd) {
    uint64_t word = words_[fd / 64].load(std::memory_order_relaxed) >> (fd % 64);
    if (word == 0) {
      fd |= 63;
      continue;
    }
    fd += static_cast<unsigned>(__builtin_ctzll(word));
    return fd <= to ? static_cast<int>(fd) : -1;
  }
  return -1;
}

int PrivateFds::floor() {
  rlimit limit{};
  ipc::raw_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, ipc::arg(&limit));
  uint64_t soft = limit.rlim_cur > kMaxFds ? kMaxFds : limit.rlim_cur;
  if (soft > 4096) soft = 4096;  // the kernel's descriptor table, which fork copies, grows with the highest number
  return soft > 512 ? static_cast<int>(soft - 320) : static_cast<int>(soft / 2);
}

int PrivateFds::adopt(int fd) {
  long moved = ipc::raw_syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, floor());
  if (moved < 0) {
    add(fd);
    return fd;
  }
  ipc::raw_syscall(SYS_close, fd);
  add(static_cast<int>(moved));
  return static_cast<int>(moved);
}

void PrivateFds::close(int fd) {
  remove(fd);
  ipc::raw_syscall(SYS_close, fd);
}

}  // namespace ferry::preload

// Owns select and pselect: translated to poll_files as the kernel translates them (fs/select.c's sets of bits, select(2)).
#include <errno.h>
#include <string.h>
#include <sys/select.h>

#include <memory>
#include <new>

#include "client/guarded_copy.h"
#include "preload/fd_table.h"
#include "preload/poll.h"
#include "preload/real.h"
#include "preload/remaining_time.h"
#include "preload/socket_file.h"

namespace ferry::preload {
namespace {

constexpr short kReadBits = POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR;
constexpr short kWriteBits = POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR;

bool is_there(const fd_set* set, int count) {
  return set == nullptr || client::is_writable(const_cast<fd_set*>(set), static_cast<size_t>((count + 63) / 64) * 8);
}

// Programs may pass larger arrays than fd_set: test bits without the checks of FD_ISSET.
bool has(const fd_set* set, int fd) {
  return set != nullptr && (reinterpret_cast<const unsigned long*>(set)[fd / 64] >> (fd % 64) & 1) != 0;
}
void put(fd_set* set, int fd) { reinterpret_cast<unsigned long*>(set)[fd / 64] |= 1ul << (fd % 64); }
void clear(fd_set* set, int count) {
  if (set != nullptr) memset(set, 0, static_cast<size_t>((count + 63) / 64) * 8);
}

// Not a stream in kernel mode: a program with a seccomp filter, which may know no poll, has only such.
bool is_ours(int fd) {
  if (!fd_table().contains(fd)) return false;
  const FileRef<SocketFile> socket = socket_of(fd);
  return !socket || !socket->native;
}

bool names_ours(int count, const fd_set* in, const fd_set* out, const fd_set* other) {
  if (!is_there(in, count) || !is_there(out, count) || !is_there(other, count)) return false;  // for the kernel to say
  for (int fd = 0; fd < count; ++fd)
    if ((has(in, fd) || has(out, fd) || has(other, fd)) && is_ours(fd)) return true;
  return false;
}

int select_files(int count, fd_set* in, fd_set* out, fd_set* other, const timespec* timeout, const sigset_t* mask) {
  pollfd small[64];
  std::unique_ptr<pollfd[]> many;
  if (count > 64) many.reset(new (std::nothrow) pollfd[static_cast<size_t>(count)]);
  pollfd* fds = count > 64 ? many.get() : small;
  if (fds == nullptr) {
    errno = ENOMEM;
    return -1;
  }
  nfds_t used = 0;
  for (int fd = 0; fd < count; ++fd) {
    short events = 0;
    if (has(in, fd)) events |= POLLIN | POLLRDNORM | POLLRDBAND;
    if (has(out, fd)) events |= POLLOUT | POLLWRNORM | POLLWRBAND;
    if (has(other, fd)) events |= POLLPRI;
    if (events != 0) fds[used++] = {fd, events, 0};
  }
  int result = poll_files(fds, used, timeout, mask);
  for (nfds_t i = 0; i < used && result > 0; ++i) {
    if ((fds[i].revents & POLLNVAL) == 0) continue;
    errno = EBADF;
    result = -1;
  }
  if (result >= 0) {
    int bits = 0;
    // The program's sets are overwritten only now: each is still needed to know what was asked.
    for (nfds_t i = 0; i < used; ++i) {
      short asked = fds[i].events;
      short ready = fds[i].revents;
      fds[i].revents = 0;
      if ((asked & POLLIN) != 0 && (ready & kReadBits) != 0) fds[i].revents |= 1;
      if ((asked & POLLOUT) != 0 && (ready & kWriteBits) != 0) fds[i].revents |= 2;
      if ((asked & POLLPRI) != 0 && (ready & POLLPRI) != 0) fds[i].revents |= 4;
    }
    clear(in, count);
    clear(out, count);
    clear(other, count);
    for (nfds_t i = 0; i < used; ++i) {
      if ((fds[i].revents & 1) != 0) put(in, fds[i].fd), ++bits;
      if ((fds[i].revents & 2) != 0) put(out, fds[i].fd), ++bits;
      if ((fds[i].revents & 4) != 0) put(other, fds[i].fd), ++bits;
    }
    result = bits;
  }
  const int saved_errno = errno;
  many.reset();
  errno = saved_errno;
  return result;
}

}  // namespace

FERRY_EXPORT int select(int count, fd_set* in, fd_set* out, fd_set* other, timeval* timeout) {
  if (count < 0 || !names_ours(count, in, out, other)) return real().select(count, in, out, other, timeout);
  if (timeout == nullptr) return select_files(count, in, out, other, nullptr, nullptr);
  if (!client::is_writable(timeout, sizeof(*timeout))) {
    errno = EFAULT;
    return -1;
  }
  if (timeout->tv_sec < 0 || timeout->tv_usec < 0) {
    errno = EINVAL;
    return -1;
  }
  timespec limit{timeout->tv_sec + timeout->tv_usec / 1'000'000, timeout->tv_usec % 1'000'000 * 1000};
  RemainingTime remaining(&limit);
  int result = select_files(count, in, out, other, &limit, nullptr);
  const timespec* left = remaining.left();  // Linux's select writes back what is left
  *timeout = {left->tv_sec, left->tv_nsec / 1000};
  return result;
}

FERRY_EXPORT int pselect(int count, fd_set* in, fd_set* out, fd_set* other, const timespec* timeout, const sigset_t* mask) {
  if (count < 0 || !names_ours(count, in, out, other)) return real().pselect(count, in, out, other, timeout, mask);
  if (timeout != nullptr && !client::is_readable(timeout, sizeof(*timeout))) {
    errno = EFAULT;
    return -1;
  }
  if (timeout != nullptr && (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec > 999'999'999)) {
    errno = EINVAL;
    return -1;
  }
  return select_files(count, in, out, other, timeout, mask);
}

}  // namespace ferry::preload

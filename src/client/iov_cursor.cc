#include "client/iov_cursor.h"

#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "ipc/syscall.h"

namespace ferry::client {

// A file: preadv2(2) with RWF_NOWAIT; a file system that does not know it has nothing in its cache, as far as we can tell. A pipe: no more than
// it holds (pipe(7), FIONREAD), so that read(2) does not wait, unless somebody else reads from it in the same moment.
long IovCursor::read_some(std::byte* to, size_t n) {
  if (file_.offset != FileBytes::kPipe) {
    const iovec v{to, n};
    const long r = ipc::raw_syscall(SYS_preadv2, file_.fd, ipc::arg(&v), 1, file_.offset, 0, RWF_NOWAIT);
    if (r > 0) file_.offset += r;
    return r;
  }
  int held = 0;
  if (ipc::raw_syscall(SYS_ioctl, file_.fd, FIONREAD, ipc::arg(&held)) != 0 || held <= 0) return 0;
  return ipc::raw_syscall(SYS_read, file_.fd, ipc::arg(to), static_cast<size_t>(held) < n ? held : static_cast<long>(n));
}

size_t IovCursor::read_out(std::byte* to, size_t n) {
  size_t done = 0;
  while (done < n) {
    const long r = read_some(to + done, n - done);
    if (r <= 0) break;
    done += static_cast<size_t>(r);
  }
  left_ -= done;
  return done;
}

}  // namespace ferry::client

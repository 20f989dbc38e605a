#include "client/iov_cursor.h"

#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>

#include "client/process.h"
#include "ipc/syscall.h"

namespace ferry::client {

// A file: preadv2(2) with RWF_NOWAIT; a file system that does not know it has nothing in its cache, as far as we can tell. A pipe: the same, no
// more than it holds (FIONREAD); a kernel before 6.5 waits there if somebody else reads from it in the same moment.
long IovCursor::read_some(std::byte* to, size_t n) {
  if (file_.offset != FileBytes::kPipe) {
    const iovec v{to, n};
    const long r = ipc::raw_syscall(SYS_preadv2, file_.fd, ipc::arg(&v), 1, file_.offset, 0, RWF_NOWAIT);
    if (r > 0) file_.offset += r;
    return r;
  }
  int held = 0;
  if (ipc::raw_syscall(SYS_ioctl, file_.fd, FIONREAD, ipc::arg(&held)) != 0 || held <= 0) return 0;
  const iovec v{to, std::min(n, static_cast<size_t>(held))};
  const long r = is_confined() ? -EOPNOTSUPP : ipc::raw_syscall(SYS_preadv2, file_.fd, ipc::arg(&v), 1, -1, 0, RWF_NOWAIT);
  return r != -EOPNOTSUPP ? r : ipc::raw_syscall(SYS_read, file_.fd, ipc::arg(to), static_cast<long>(v.iov_len));
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

#include "client/iov_cursor.h"

#include <sys/syscall.h>

#include "ipc/syscall.h"

namespace ferry::client {

// preadv2(2) with RWF_NOWAIT; a file system that does not know it has nothing in its cache, as far as we can tell.
size_t IovCursor::read_out(std::byte* to, size_t n) {
  size_t done = 0;
  while (done < n) {
    const iovec v{to + done, n - done};
    const long r = ipc::raw_syscall(SYS_preadv2, file_.fd, ipc::arg(&v), 1, file_.offset, 0, RWF_NOWAIT);
    if (r <= 0) break;
    done += static_cast<size_t>(r);
    file_.offset += r;
  }
  left_ -= done;
  return done;
}

}  // namespace ferry::client

// Interposes sendfile and splice: file or pipe ↔ Ferry socket: from the page cache or a pipe straight to where ferryd reads it, else
// through one buffer on the way. sendfile(2), splice(2).
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>

#include <algorithm>
#include <memory>

#include "client/guarded_copy.h"
#include "client/iov_cursor.h"
#include "client/process.h"
#include "ipc/syscall.h"
#include "preload/cancel.h"
#include "preload/io.h"
#include "preload/real.h"
#include "preload/signals.h"

namespace ferry::preload {
namespace {

constexpr size_t kChunk = size_t{128} << 10;  // bytes read ahead of the socket at once
constexpr size_t kMaxTransfer = 0x7ffff000;
// The longest datagram that is made of what a pipe holds.
constexpr size_t kPipeChunk = size_t{16} << 10;

struct FreeMemory {
  void operator()(char* p) const { free(p); }
};
using Buffer = std::unique_ptr<char, FreeMemory>;

// -errno as a result of `call`.
template <typename T>
long kernel_result(T result) {
  return result < 0 ? -errno : static_cast<long>(result);
}

// What is in the page cache goes straight to where ferryd reads it. Bytes; 0: nothing is there, or there is no such way; -errno.
long send_cached(SocketFile& file, int out, const client::FileBytes& bytes) {
  if (client::is_confined()) return 0;  // its filter may kill for preadv2
  client::SendRequest request;
  request.file = &bytes;
  request.nonblocking = file.nonblocking;
  return file.socket.send(out, request);
}

// What a disk has to be asked for: one chunk by way of a buffer. Bytes; 0: the end of the file; -errno. `partly`: the socket takes no more.
long send_read(SocketFile& file, int out, const client::FileBytes& bytes, Buffer& buffer, bool& partly) {
  if (!buffer) buffer.reset(static_cast<char*>(malloc(kChunk)));
  if (!buffer) return -ENOMEM;
  const size_t want = bytes.count < kChunk ? bytes.count : kChunk;
  const long got = kernel_result(real().pread(bytes.fd, buffer.get(), want, bytes.offset));
  if (got <= 0) return got;
  client::SendRequest request;
  iovec v{buffer.get(), static_cast<size_t>(got)};
  request.data = {&v, 1};
  request.flags = static_cast<size_t>(got) < bytes.count && static_cast<size_t>(got) == want ? MSG_MORE : 0;
  request.nonblocking = file.nonblocking;
  const long done = file.socket.send(out, request);
  partly = done < got;
  return done;
}

// Sends at most `count` bytes of the file from `*offset`, which is moved. Bytes sent, or -errno if none were: an error behind some is
// forgotten, as by the kernel's sendfile (send(2) would tell the next call).
long send_file(SocketFile& file, int out, int in, off_t* offset, size_t count) {
  if (count > kMaxTransfer) count = kMaxTransfer;
  Buffer buffer;
  long sent = 0;
  for (bool partly = false; count > 0 && !partly;) {
    const client::FileBytes bytes{in, *offset, count};
    long done = send_cached(file, out, bytes);
    if (done == 0) done = send_read(file, out, bytes, buffer, partly);
    if (done <= 0) return sent > 0 ? sent : done;
    sent += done;
    *offset += done;
    count -= static_cast<size_t>(done);
  }
  return sent;
}

ssize_t sendfile_call(int out, int in, off_t* offset, size_t count) {
  FileRef<SocketFile> file = data_socket_of(out);
  if (!file) return real().sendfile(out, in, offset, count);
  NotCancelled until_done;
  off_t at = 0;
  if (offset != nullptr && !client::guarded_copy(&at, offset, sizeof(at))) return to_libc(-EFAULT);
  struct stat status;
  if (real().fstat(in, &status) != 0) return -1;
  if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
    return to_libc(offset != nullptr && (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode)) ? -ESPIPE : -EINVAL);
  if (offset == nullptr) at = real().lseek(in, 0, SEEK_CUR);
  if (at < 0) return offset != nullptr ? to_libc(-EINVAL) : -1;
  // No further than the end: what is announced to follow would be waited for. (Files of proc(5) have no size.)
  if (S_ISREG(status.st_mode) && status.st_size > at) count = std::min(count, static_cast<size_t>(status.st_size - at));
  long sent = send_file(*file, out, in, &at, count);
  if (offset != nullptr && !client::guarded_copy(offset, &at, sizeof(at))) return to_libc(-EFAULT);
  if (offset == nullptr && sent > 0) real().lseek(in, at, SEEK_SET);
  return finish_send(*file, sent, 0);
}

// Socket → pipe: looked at first, so that bytes that the pipe does not take stay in the socket.
long socket_to_pipe(SocketFile& file, int in, int out, size_t count, unsigned flags) {
  if (count > kChunk) count = kChunk;
  Buffer buffer(static_cast<char*>(malloc(count + 1)));
  if (!buffer) return -ENOMEM;
  iovec v{buffer.get(), count};
  client::ReceiveRequest request;
  request.data = {&v, 1};
  request.flags = MSG_PEEK;
  request.nonblocking = file.nonblocking;
  long peeked = file.socket.receive(in, request);
  if (peeked <= 0) return peeked;
  if ((flags & SPLICE_F_NONBLOCK) != 0) {
    pollfd p{out, POLLOUT, 0};
    if (real().poll(&p, 1, 0) != 1) return -EAGAIN;
  }
  long written = kernel_result(real().write(out, buffer.get(), static_cast<size_t>(peeked)));
  if (written <= 0) return written;
  v.iov_len = static_cast<size_t>(written);
  request.flags = 0;
  request.nonblocking = true;
  file.socket.receive(in, request);
  return written;
}

// Waits until the pipe holds something, or nobody writes to it any more: how many bytes it holds, or -errno.
long wait_for_pipe(int pipe, bool wait) {
  for (;;) {
    const HandlersRun before = handlers_run();
    pollfd p{pipe, POLLIN, 0};
    const int ready = real().poll(&p, 1, wait ? -1 : 0);
    if (ready == 0) return -EAGAIN;
    if (ready < 0 && (errno != EINTR || !restarts(before))) return -errno;
    int held = 0;
    if (ready > 0) return real().ioctl(pipe, FIONREAD, &held) == 0 ? held : -errno;
  }
}

// One datagram of what is in the pipe, as far as it goes into a buffer.
long pipe_to_datagram(SocketFile& file, int in, int out, size_t count) {
  char buffer[kPipeChunk];
  const long got = kernel_result(real().read(in, buffer, std::min(count, sizeof(buffer))));
  if (got <= 0) return got;
  iovec v{buffer, static_cast<size_t>(got)};
  client::SendRequest request;
  request.data = {&v, 1};
  return file.socket.send(out, request);
}

// Pipe → socket: what the socket has no room for stays in the pipe.
long pipe_to_socket(SocketFile& file, int in, int out, size_t count, unsigned flags) {
  const long held = wait_for_pipe(in, (flags & SPLICE_F_NONBLOCK) == 0);
  if (held <= 0) return held;
  count = std::min(count, static_cast<size_t>(held));
  if (file.type != SOCK_STREAM) return pipe_to_datagram(file, in, out, count);
  const client::FileBytes bytes{in, client::FileBytes::kPipe, count};
  client::SendRequest request;
  request.file = &bytes;
  request.flags = (flags & SPLICE_F_MORE) != 0 ? MSG_MORE : 0;
  request.nonblocking = file.nonblocking;
  const long sent = file.socket.send(out, request);
  if (sent != 0) return sent;
  if (!file.in_kernel_mode(out)) return -EAGAIN;  // somebody else has read the pipe
  return ipc::raw_syscall(SYS_splice, in, 0, out, 0, static_cast<long>(count), static_cast<long>(flags));
}

bool is_pipe(int fd) {
  struct stat status;
  return real().fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode);
}

}  // namespace

static_assert(sizeof(off_t) == sizeof(off64_t), "x86-64: one implementation serves both names");

FERRY_EXPORT ssize_t sendfile(int out, int in, off_t* offset, size_t count) noexcept {
  return sendfile_call(out, in, offset, count);
}
FERRY_EXPORT ssize_t sendfile64(int out, int in, off64_t* offset, size_t count) noexcept {
  return sendfile_call(out, in, offset, count);
}

FERRY_EXPORT ssize_t splice(int in, off64_t* in_offset, int out, off64_t* out_offset, size_t count, unsigned flags) {
  FileRef<SocketFile> from = data_socket_of(in);
  FileRef<SocketFile> to = data_socket_of(out);
  if (!from && !to) return real().splice(in, in_offset, out, out_offset, count, flags);
  cancellation_point();
  if (count == 0) return 0;
  if (in_offset != nullptr || out_offset != nullptr) return to_libc(-ESPIPE);  // neither sockets nor pipes have one
  if (from) return is_pipe(out) ? to_libc(socket_to_pipe(*from, in, out, count, flags)) : to_libc(-EINVAL);
  return is_pipe(in) ? finish_send(*to, pipe_to_socket(*to, in, out, count, flags), 0) : to_libc(-EINVAL);
}

}  // namespace ferry::preload

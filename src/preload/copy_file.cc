// Interposes sendfile and splice: file or pipe ↔ Ferry socket: from the page cache or a pipe straight to where ferryd reads it, else
// through one buffer on the way. sendfile(2), splice(2).
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <algorithm>
#include <memory>

#include "client/critical.h"
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
// The most that one datagram or message takes from a pipe: sixteen pages, as Linux.
constexpr size_t kPipeRecord = size_t{64} << 10;

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
// forgotten, as by the kernel's sendfile (send(2) would tell the next call). So is a signal: it ends the call behind the piece that it met.
long send_file(SocketFile& file, int out, int in, off_t* offset, size_t count) {
  if (count > kMaxTransfer) count = kMaxTransfer;
  const HandlersRun before = handlers_run();
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
    if (handlers_run().interrupting != before.interrupting) break;
  }
  return sent;
}

// Linux sends from zero, full, random and urandom, but not from null, or a terminal: full(4), null(4), random(4).
bool gives_bytes(const struct stat& device) {
  return S_ISCHR(device.st_mode) && major(device.st_rdev) == 1 && minor(device.st_rdev) >= 5 && minor(device.st_rdev) <= 9;
}

ssize_t sendfile_call(int out, int in, off_t* offset, size_t count) {
  FileRef<SocketFile> file = data_socket_of(out);
  if (!file) return real().sendfile(out, in, offset, count);
  NotCancelled until_done;
  off_t at = 0;
  if (offset != nullptr && !client::guarded_copy(&at, offset, sizeof(at))) return to_libc(-EFAULT);
  struct stat status;
  if (real().fstat(in, &status) != 0) return -1;
  if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode) && !gives_bytes(status))
    return to_libc(offset != nullptr && (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode)) ? -ESPIPE : -EINVAL);
  if (offset == nullptr) at = real().lseek(in, 0, SEEK_CUR);
  if (at < 0) return offset != nullptr ? to_libc(-EINVAL) : -1;
  // Then the socket is not asked. (Files of proc(5) have no size.)
  if (count == 0 || (S_ISREG(status.st_mode) && status.st_size > 0 && at >= status.st_size))
    return (real().fcntl(in, F_GETFL) & O_ACCMODE) == O_WRONLY ? to_libc(-EBADF) : 0;
  // No further than the end: what is announced to follow would be waited for.
  if (S_ISREG(status.st_mode) && status.st_size > at) count = std::min(count, static_cast<size_t>(status.st_size - at));
  long sent = send_file(*file, out, in, &at, count);
  if (offset != nullptr && !client::guarded_copy(offset, &at, sizeof(at))) return to_libc(-EFAULT);
  if (offset == nullptr && sent > 0) real().lseek(in, at, SEEK_SET);
  return finish_send(*file, sent, 0);
}

// Waits for `events` of a pipe: what poll(2) says of it, or -errno.
long poll_pipe(int pipe, short events, bool wait) {
  for (;;) {
    const HandlersRun before = handlers_run();
    pollfd p{pipe, events, 0};
    const int ready = real().poll(&p, 1, wait ? -1 : 0);
    if (ready > 0) return p.revents;
    if (ready == 0) return -EAGAIN;
    if (errno != EINTR || !restarts(before)) return -errno;
  }
}

// Bytes that a pipe holds, or -errno.
long bytes_in(int pipe) {
  int held = 0;
  return real().ioctl(pipe, FIONREAD, &held) == 0 ? held : -errno;
}

// As much as the pipe takes without waiting: an empty one its size, one that has room for anything a page (pipe(7)). Bytes, or -errno of the
// first write.
long fill_pipe(int pipe, const char* data, size_t count) {
  size_t done = 0;
  for (size_t piece = 0; done < count; done += piece) {
    if (poll_pipe(pipe, POLLOUT, false) < 0) break;
    const long size = bytes_in(pipe) == 0 ? real().fcntl(pipe, F_GETPIPE_SZ) : PIPE_BUF;
    piece = std::min(count - done, size > 0 ? static_cast<size_t>(size) : size_t{PIPE_BUF});
    const long written = kernel_result(real().write(pipe, data + done, piece));
    if (written <= 0) return done > 0 ? static_cast<long>(done) : written;
    piece = static_cast<size_t>(written);
  }
  return done > 0 ? static_cast<long>(done) : -EAGAIN;
}

// Socket → pipe: looked at first, so that bytes that the pipe does not take stay in the socket.
long socket_to_pipe(SocketFile& file, int in, int out, size_t count, bool wait) {
  const long events = poll_pipe(out, POLLOUT, wait);
  if (events < 0) return events;
  if ((events & POLLERR) != 0) return -EPIPE;
  if (count > kChunk) count = kChunk;
  Buffer buffer(static_cast<char*>(malloc(count + 1)));
  if (!buffer) return -ENOMEM;
  iovec v{buffer.get(), count};
  client::ReceiveRequest request;
  request.data = {&v, 1};
  request.flags = MSG_PEEK;
  request.nonblocking = file.nonblocking;
  long peeked = file.socket.receive(in, request);
  if (peeked < 0) return peeked;
  NotCancelled until_taken;  // what is in the pipe must not stay in the socket as well
  const long written = peeked == 0 ? 0 : fill_pipe(out, buffer.get(), static_cast<size_t>(peeked));  // an empty datagram is taken, too
  if (written < 0) return written;
  v.iov_len = static_cast<size_t>(written);
  request.flags = 0;
  request.nonblocking = true;
  const long taken = file.socket.receive(in, request);
  if (taken < 0 && taken != -EAGAIN) file.socket.receive(in, request);  // an error that came in between was told first, and is lost
  return written;
}

// Whether an empty pipe has had no writer yet: a FIFO that was opened without waiting for one. poll(2) does not tell, and a read(2) that does may
// take bytes; tee(2) takes none. What pipe(2) made always has had one.
bool has_had_no_writer(int pipe) {
  struct statfs where;
  if (client::is_confined() || ipc::raw_syscall(SYS_fstatfs, pipe, ipc::arg(&where)) != 0 || where.f_type == PIPEFS_MAGIC) return false;
  const client::Critical until_closed;
  int ends[2];
  if (ipc::raw_syscall(SYS_pipe2, ipc::arg(ends), O_CLOEXEC) != 0) return false;
  const bool none = ipc::raw_syscall(SYS_tee, pipe, ends[1], 1, SPLICE_F_NONBLOCK) == 0;  // else 1 or -EAGAIN
  for (int end : ends) ipc::raw_syscall(SYS_close, end);
  return none;
}

// Waits for bytes in a pipe, or its end: what poll(2) says; 0: there is no writer to wait for; -errno.
long poll_for_input(int pipe, bool wait) {
  const long events = poll_pipe(pipe, POLLIN, false);
  if (events != -EAGAIN) return events;
  if (has_had_no_writer(pipe)) return 0;
  return wait ? poll_pipe(pipe, POLLIN, true) : events;
}

// Pipe → socket: what the socket has no room for, or does not take for an error, stays in the pipe. (But what a corked datagram took is lost with it.)
long pipe_to_socket(SocketFile& file, int in, int out, size_t count, bool more, bool wait) {
  const bool is_message = file.socket.is_message();
  if (is_message || file.type != SOCK_STREAM) count = std::min(count, kPipeRecord);
  for (;;) {
    const long events = poll_for_input(in, wait);
    if (events <= 0) return events;
    const long held = bytes_in(in);
    if (held < 0 || (held == 0 && (events & POLLHUP) != 0)) return held;
    if (held > 0) {
      const size_t some = std::min(count, static_cast<size_t>(held));
      const client::FileBytes bytes{in, client::FileBytes::kPipe, some};
      client::SendRequest request;
      request.file = &bytes;
      request.flags = more && !is_message ? MSG_MORE : 0;
      request.nonblocking = file.nonblocking;
      const long sent = file.socket.send(out, request);
      if (sent != 0) return sent;
      if (file.in_kernel_mode(out))
        return ipc::raw_syscall(SYS_splice, in, 0, out, 0, static_cast<long>(some), wait ? 0 : SPLICE_F_NONBLOCK);
    }
    if (!wait) return -EAGAIN;  // somebody else has read the pipe
  }
}

bool is_pipe(int fd) {
  struct stat status;
  return real().fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode);
}

struct SpliceEnd {
  int fd;
  const off64_t* offset;
};

// An offset that the program gave can be read, or there is none.
bool is_offset_there(const off64_t* offset) {
  off64_t at;
  return offset == nullptr || client::guarded_copy(&at, offset, sizeof(at));
}

// Between a Ferry socket and `other`; what is wrong is told in Linux' order.
long splice_call(SocketFile* from, SocketFile* to, SpliceEnd in, SpliceEnd out, size_t count, unsigned flags) {
  constexpr unsigned kKnown = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT;
  if ((flags & ~kKnown) != 0) return -EINVAL;
  const SpliceEnd& other = from != nullptr ? out : in;
  const SpliceEnd& socket = from != nullptr ? in : out;
  const long status = kernel_result(real().fcntl(other.fd, F_GETFL));
  if (status < 0) return status;
  const bool piped = is_pipe(other.fd);
  if (piped && other.offset != nullptr) return -ESPIPE;
  if (!is_offset_there(out.offset) || !is_offset_there(in.offset)) return -EFAULT;
  if ((status & O_ACCMODE) == (from != nullptr ? O_RDONLY : O_WRONLY)) return -EBADF;
  if (!piped || socket.offset != nullptr) return -EINVAL;
  const bool wait = (flags & SPLICE_F_NONBLOCK) == 0 && (status & O_NONBLOCK) == 0;
  return from != nullptr ? socket_to_pipe(*from, in.fd, out.fd, count, wait)
                         : pipe_to_socket(*to, in.fd, out.fd, count, (flags & SPLICE_F_MORE) != 0, wait);
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
  return finish_send(from ? *from : *to, splice_call(from.get(), to.get(), {in, in_offset}, {out, out_offset}, count, flags), 0);
}

}  // namespace ferry::preload

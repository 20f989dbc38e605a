// Owns the netlink sockets of the process: which dumps of addresses are under way on them, and the insertion of Ferry's part
// (netlink.h). netlink(7), rtnetlink(7).
#include "preload/netlink.h"

#include <errno.h>
#include <limits.h>
#include <linux/netlink.h>
#include <string.h>

#include <algorithm>
#include <new>
#include <vector>

#include "client/guarded_copy.h"
#include "ipc/syscall.h"
#include "preload/interfaces.h"
#include "preload/log.h"
#include "preload/socket_file.h"

namespace ferry::preload {

constinit std::atomic<bool> g_netlink_used{false};

namespace {

constinit client::Mutex g_free_mutex;
NetlinkFile* g_free = nullptr;
constinit std::atomic<bool> g_abandoned{false};

constexpr size_t kLookedAt = 4096;  // of what is sent in one call; requests are a few dozen bytes

FileRef<NetlinkFile> netlink_of(int fd) {
  FileRef<> file = fd_table().get(fd);
  if (!file || file->kind() != FileKind::netlink) return {};
  return FileRef<NetlinkFile>(static_cast<NetlinkFile*>(file.take()));
}

bool is_strict(int fd) {
  int value = 0;
  socklen_t length = sizeof(value);
  return ipc::raw_syscall(SYS_getsockopt, fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, ipc::arg(&value), ipc::arg(&length)) == 0 &&
         value != 0;
}

// Whether the program's list of buffers itself can be read.
bool is_there(std::span<const iovec> list) { return list.size() <= IOV_MAX && client::is_readable(list.data(), list.size_bytes()); }

size_t gather(std::span<const iovec> data, std::span<std::byte> out) {
  size_t used = 0;
  for (const iovec& v : data) {
    const size_t n = std::min(v.iov_len, out.size() - used);
    if (n != 0 && !client::guarded_copy(&out[used], v.iov_base, n)) break;  // the kernel will say EFAULT
    used += n;
    if (used == out.size()) break;
  }
  return used;
}

// Bytes copied, or -EFAULT.
ssize_t scatter(std::span<const std::byte> bytes, std::span<const iovec> out) {
  size_t used = 0;
  for (const iovec& v : out) {
    const size_t n = std::min(v.iov_len, bytes.size() - used);
    if (n != 0 && !client::guarded_copy(v.iov_base, &bytes[used], n)) return -EFAULT;
    used += n;
    if (used == bytes.size()) break;
  }
  return static_cast<ssize_t>(used);
}

}  // namespace

FileRef<NetlinkFile> NetlinkFile::create() {
  NetlinkFile* file = nullptr;
  {
    client::Guard guard(g_free_mutex);
    file = g_free;
    if (file != nullptr) g_free = file->next_free_;
  }
  if (file == nullptr) file = new (std::nothrow) NetlinkFile;
  if (file == nullptr) return {};
  file->count_ = 0;
  file->revive();
  return FileRef<NetlinkFile>(file);
}

void NetlinkFile::retire() {
  client::Guard guard(g_free_mutex);
  next_free_ = g_free;
  g_free = this;
}

void NetlinkFile::expect(const AddressDump& dump, std::span<const ipc::control::InterfaceInfo> interfaces) {
  client::Guard guard(mutex_);
  drop(dump.sequence);
  if (count_ == kMaxDumps) remove(0);  // the oldest was never read
  Dump& fresh = dumps_[count_];
  fresh.sequence = dump.sequence;
  fresh.size = static_cast<uint32_t>(build_addresses(interfaces, dump, fresh.messages));
  if (fresh.size != 0) ++count_;
}

void NetlinkFile::forget(uint32_t sequence) {
  client::Guard guard(mutex_);
  drop(sequence);
}

void NetlinkFile::drop(uint32_t sequence) {
  for (size_t i = 0; i < count_; ++i)
    if (dumps_[i].sequence == sequence) return remove(i);
}

void NetlinkFile::remove(size_t index) {
  std::copy(&dumps_[index + 1], &dumps_[count_], &dumps_[index]);
  --count_;
}

bool NetlinkFile::receive(int fd, msghdr& message, int flags, ssize_t& result) {
  if (count_.load(std::memory_order_relaxed) == 0 || (flags & (MSG_OOB | MSG_ERRQUEUE)) != 0) return false;
  if (!is_there({message.msg_iov, message.msg_iovlen})) return false;
  client::Guard guard(mutex_);
  // The kernel's datagram tells whether it is our turn. It is looked at with the program's own buffers for the sender and for control
  // messages: what the kernel writes there is right for our datagram as well.
  std::byte head[kAnswerHead];
  iovec v{head, sizeof(head)};
  msghdr peek = message;
  peek.msg_iov = &v;
  peek.msg_iovlen = 1;
  const long size = ipc::raw_syscall(SYS_recvmsg, fd, ipc::arg(&peek), MSG_PEEK | MSG_DONTWAIT | (flags & MSG_CMSG_CLOEXEC));
  if (size == -EAGAIN) return false;
  if (size < 0) {
    result = to_libc(size);  // an overrun, say, is told once: it is the program's to know
    return true;
  }
  const std::span<const std::byte> seen(head, static_cast<size_t>(size));
  for (size_t i = 0; i < count_; ++i) {
    const Answer answer = classify_answer(seen, dumps_[i].sequence);
    if (answer == Answer::unrelated) continue;
    if (answer == Answer::refusal) {
      remove(i);
      return false;
    }
    std::span<std::byte> ours(dumps_[i].messages, dumps_[i].size);
    match_answer(ours, seen);
    const ssize_t done = scatter(ours, {message.msg_iov, message.msg_iovlen});
    if (done < 0) {
      result = to_libc(done);
      return true;
    }
    const auto copied = static_cast<size_t>(done);
    message.msg_namelen = peek.msg_namelen;
    message.msg_controllen = peek.msg_controllen;
    message.msg_flags = (peek.msg_flags & ~MSG_TRUNC) | (copied < ours.size() ? MSG_TRUNC : 0);
    result = static_cast<ssize_t>((flags & MSG_TRUNC) != 0 ? ours.size() : copied);
    if ((flags & MSG_PEEK) == 0) remove(i);
    return true;
  }
  return false;
}

void adopt_netlink(int fd, int domain, int protocol) {
  if (domain != AF_NETLINK || protocol != NETLINK_ROUTE || g_abandoned) return;
  FileRef<NetlinkFile> file = NetlinkFile::create();
  if (file && fd_table().install(fd, file.get())) g_netlink_used = true;
}

void abandon_netlink() {
  g_abandoned = true;
  if (!netlink_used()) return;
  fd_table().for_each([](int fd, OpenFile* file) {
    if (file->kind() == FileKind::netlink) fd_table().remove(fd);
  });
}

bool is_netlink(int fd) { return netlink_used() && netlink_of(fd); }

NetlinkRequests::NetlinkRequests(int fd, std::span<const iovec> data) : file_(netlink_of(fd)) {
  if (!file_) return;
  std::byte sent[kLookedAt];
  const size_t size = is_there(data) ? gather(data, sent) : 0;
  if (find_address_dumps({sent, size}, false, dumps_) == 0) return;  // spares the question below
  count_ = find_address_dumps({sent, size}, is_strict(fd), dumps_);
  const std::vector<ipc::control::InterfaceInfo> interfaces = addresses_kernel_lacks();
  for (size_t i = 0; i < count_; ++i) {
    file_->expect(dumps_[i], interfaces);
    FERRY_LOG_DEBUG("address dump %u on netlink socket %d: %zu addresses of Ferry's", dumps_[i].sequence, fd, interfaces.size());
  }
}

void NetlinkRequests::withdraw() {
  const int saved_errno = errno;
  for (size_t i = 0; i < count_; ++i) file_->forget(dumps_[i].sequence);
  errno = saved_errno;
}

bool receive_netlink(int fd, msghdr& message, int flags, ssize_t& result) {
  FileRef<NetlinkFile> file = netlink_of(fd);
  return file && file->receive(fd, message, flags, result);
}

}  // namespace ferry::preload

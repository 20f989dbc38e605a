// Netlink sockets of the routing family (AF_NETLINK, NETLINK_ROUTE). They stay the kernel's in every respect but one: a dump of
// addresses also lists Ferry's, which the kernel does not know. netlink(7), rtnetlink(7).
//
//   program                     libferry                           kernel
//   sendto(RTM_GETADDR dump) ─► remember it, build our part ─────► queues its answer
//   recvmsg ◄───────────────── our datagram, once  ◄── peek ─────  RTM_NEWADDR… (stays queued)
//   recvmsg ◄───────────────────────────────────────────────────── RTM_NEWADDR…
//   recvmsg ◄───────────────────────────────────────────────────── NLMSG_DONE
//
// Our part is a datagram of its own in front of a datagram of the kernel's answer, so poll and epoll need no help: the socket is
// readable because of the kernel's, which waits behind ours. A thread that sleeps in recvmsg while another asks gets the kernel's
// first datagram as it is; ours comes in front of the next, if there is one. Not seen: sockets inherited over exec or received by
// SCM_RIGHTS, and libc's own (getifaddrs is interposed by itself, interfaces.cc).
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <atomic>
#include <span>

#include "client/guarded_copy.h"
#include "client/mutex.h"
#include "preload/address_dump.h"
#include "preload/fd_table.h"
#include "preload/open_file.h"

namespace ferry::preload {

// The open file description: which dumps the program waits for.
class NetlinkFile final : public OpenFile {
 public:
  static constexpr size_t kMaxDumps = 4;  // the kernel runs one at a time; more can only be answered and not read yet

  // With one reference for the caller. Null when out of memory.
  static FileRef<NetlinkFile> create();

  // The program is about to ask for `dump`: what it is to hear of us, in place of what was expected under that number before.
  // forget(): the kernel did not take the request.
  void expect(const AddressDump& dump, std::span<const ipc::control::InterfaceInfo> interfaces);
  void forget(uint32_t sequence);

  // recvmsg(2), when it is our turn: true, and `result` is the call's, with errno. False: the kernel's socket is to be asked.
  bool receive(int fd, msghdr& message, int flags, ssize_t& result);

 protected:
  void retire() override;

 private:
  struct Dump {
    uint32_t sequence;
    uint32_t size;
    std::byte messages[1024];
  };

  NetlinkFile() : OpenFile(FileKind::netlink) {}
  void drop(uint32_t sequence);
  void remove(size_t index);

  client::Mutex mutex_;  // dumps_; fixed memory, so that a fork in the midst of a change leaves nothing broken
  Dump dumps_[kMaxDumps];
  std::atomic<uint32_t> count_{0};
  NetlinkFile* next_free_ = nullptr;
};

// Whether the process ever had such a socket: all that data calls on other kernel descriptors pay.
__attribute__((visibility("hidden"))) extern constinit std::atomic<bool> g_netlink_used;
inline bool netlink_used() { return g_netlink_used.load(std::memory_order_relaxed); }
bool is_netlink(int fd);

// socket(2) has returned `fd`.
void adopt_netlink(int fd, int domain, int protocol);
// From now on all of them are left to the kernel: before a seccomp filter, which may forbid what we do here.
void abandon_netlink();

// The requests in what is sent on a kernel descriptor, noted from before the call until it failed.
class NetlinkRequests {
 public:
  NetlinkRequests(int fd, std::span<const iovec> data);
  void withdraw();

 private:
  FileRef<NetlinkFile> file_;
  AddressDump dumps_[NetlinkFile::kMaxDumps];
  size_t count_ = 0;
};

// Before a receiving call on a kernel descriptor: NetlinkFile::receive, false if it is no netlink socket. `message` itself can be accessed;
// what it points to may be nowhere.
bool receive_netlink(int fd, msghdr& message, int flags, ssize_t& result);

// `call` is libc's function with the program's arguments, captured by value. Not inlined, so that hooks stay as short as they were.
template <typename Call>
[[gnu::noinline]] ssize_t send_with_netlink(int fd, std::span<const iovec> data, Call call) {
  NetlinkRequests requests(fd, data);
  const ssize_t result = call();
  if (result < 0) requests.withdraw();
  return result;
}
template <typename Call>
[[gnu::noinline]] ssize_t send_with_netlink(int fd, const void* data, size_t size, Call call) {
  const iovec v{const_cast<void*>(data), size};
  return send_with_netlink(fd, {&v, 1}, call);
}
template <typename Call>
[[gnu::noinline]] ssize_t receive_with_netlink(int fd, std::span<const iovec> data, int flags, sockaddr* address,
                                               socklen_t* length, Call call) {
  if (!is_netlink(fd) || (length != nullptr && !client::is_writable(length, sizeof(*length)))) return call();
  msghdr message{};
  message.msg_name = length != nullptr ? address : nullptr;
  message.msg_namelen = message.msg_name != nullptr ? *length : 0;
  message.msg_iov = const_cast<iovec*>(data.data());
  message.msg_iovlen = data.size();
  ssize_t result = 0;
  if (!receive_netlink(fd, message, flags, result)) return call();
  if (result >= 0 && message.msg_name != nullptr) *length = message.msg_namelen;
  return result;
}
template <typename Call>
[[gnu::noinline]] ssize_t receive_with_netlink(int fd, void* data, size_t size, int flags, sockaddr* address, socklen_t* length,
                                               Call call) {
  const iovec v{data, size};
  return receive_with_netlink(fd, {&v, 1}, flags, address, length, call);
}

}  // namespace ferry::preload

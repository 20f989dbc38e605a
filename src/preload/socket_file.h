// A Ferry socket's open file description: the client's Socket plus what only the descriptor interface knows (family, O_NONBLOCK,
// identity of K, options to replay on a hand-over, the twin listener on the kernel's loopback).
#pragma once

#include <netinet/in.h>
#include <sys/types.h>

#include <atomic>
#include <vector>

#include "client/mutex.h"
#include "client/socket.h"
#include "preload/fd_table.h"
#include "preload/open_file.h"

namespace ferry::preload {

// A setsockopt that succeeded, to be repeated on a kernel socket.
struct RecordedOption {
  int level = 0, name = 0;
  uint32_t length = 0;
  uint8_t value[32] = {};
};

class SocketFile final : public OpenFile {
 public:
  static constexpr size_t kMaxRecordedOptions = 48;

  // A fresh or reused object with one reference for the caller, its socket not open. Null when out of memory.
  static FileRef<SocketFile> create(int family, int type);

  client::Socket socket;
  int family = 0;    // AF_INET or AF_INET6
  int type = 0;      // SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET
  std::atomic<bool> nonblocking{false};  // O_NONBLOCK: of the description, K has it too
  std::atomic<bool> v6_only{false};
  std::atomic<bool> keep_alive{false};   // of a datagram socket, where it has no meaning
  std::atomic<int> twin{-1};             // kernel listener on the loopback (loopback_twin.h), a private descriptor
  std::atomic<int> reserved_twin{-1};    // what becomes the twin at listen(2), bound only; private as well
  std::atomic<bool> bound_any{false};    // bound to the unspecified address (or never bound): the twin's condition
  std::atomic<bool> bound{false};        // bind(2) was called
  std::atomic<bool> native{false};       // a stream in kernel mode: data calls go to K unchanged, without asking anybody
  std::atomic<bool> copied{false};       // K has or had another name, or is not as it was made: it is not kept for another socket
  std::atomic<bool> used{false};         // connected, listening, or has sent: too late for a hand-over

  bool v6() const { return family == AF_INET6; }
  // Every message may have another destination.
  bool sends_anywhere() const { return type == SOCK_DGRAM || socket.has_many_peers(); }
  // As for socket(2); 0: the usual one of the type.
  int protocol() const { return socket.is_message() ? IPPROTO_SCTP : 0; }
  // Whether the kernel carries the data and tells of readiness. Listeners never: they have only the server.
  bool in_kernel_mode(int fd) {
    if (native.load(std::memory_order_relaxed)) return true;
    if (socket.is_listener() || socket.mode(fd) != ipc::abi::kModeKernel) [[likely]] return false;
    if (type == SOCK_STREAM) native = true;
    return true;
  }
  // Datagrams: after the first one the socket cannot be handed over.
  void mark_used() {
    if (!used.load(std::memory_order_relaxed)) used.store(true, std::memory_order_relaxed);
  }
  bool is_connected(int fd) {
    client::Address peer{};
    return socket.remote_address(fd, peer) == 0;
  }

  // The socket will not listen: its port on the kernel's loopback is free again.
  void release_reserved_twin();

  // Remembers what K is, so that a number can be checked later.
  void remember_identity(int k);
  // Whether `fd` still is K. A system call; errno is preserved.
  bool is_named_by(int fd) const;

  void record_option(int level, int name, const void* value, socklen_t length);
  std::vector<RecordedOption> recorded_options();

 protected:
  void retire() override;

 private:
  SocketFile() : OpenFile(FileKind::socket) {}

  client::Identity identity_;
  client::Mutex mutex_;  // options_
  std::vector<RecordedOption> options_;
  SocketFile* next_free_ = nullptr;
};

// The Ferry socket named by `fd`, or null. Numbers that are not ours cost two loads.
inline FileRef<SocketFile> socket_of(int fd) {
  FileRef<> file = fd_table().get(fd);
  if (!file) [[likely]] return {};
  if (file->kind() != FileKind::socket) return {};
  return FileRef<SocketFile>(static_cast<SocketFile*>(file.take()));
}

// The same for data calls: null also for a stream in kernel mode, whose data libc's call moves over K as it is.
inline FileRef<SocketFile> data_socket_of(int fd) {
  FileRef<SocketFile> file = socket_of(fd);
  if (file && file->native.load(std::memory_order_relaxed)) [[unlikely]] file.reset();
  return file;
}

// -errno → errno and -1.
long to_libc(long result);

}  // namespace ferry::preload

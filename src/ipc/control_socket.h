// Sending and receiving control messages (ipc/control.h): SOCK_SEQPACKET, one fixed-size message each, descriptors as
// SCM_RIGHTS, credentials as SCM_CREDENTIALS (unix(7)). Both ends; the ferry command uses the client end too.
//
// Bounded: at most control::kMaxDescriptors descriptors per message, more are closed and the message refused. Received descriptors
// are close-on-exec. Every call restarts after EINTR. Errors are -errno, since both users know errno.
#pragma once

#include <cstdint>
#include <string_view>

#include "ipc/control.h"
#include "ipc/owned_fd.h"

namespace ferry::ipc {

// Descriptors that travel with a message.
struct DescriptorList {
  OwnedFd fds[control::kMaxDescriptors];
  uint32_t count = 0;

  // Adds one; false (and it is closed) when full.
  bool add(OwnedFd fd);
  OwnedFd take(uint32_t i) { return i < count ? std::move(fds[i]) : OwnedFd(); }
  void clear();
};

// Who sent a message, as the kernel saw it at the send.
struct Credentials {
  int32_t pid = 0;
  uint32_t uid = ~uint32_t{0};
  uint32_t gid = ~uint32_t{0};
  bool present = false;
};

// --- client end ---

// Connects to a listening control socket (blocking, close-on-exec). ≥ 0: the descriptor; -ENAMETOOLONG, or connect(2)'s errors.
long connect_control(std::string_view path);
// Sends one request with the effective credentials of this moment; `fds` (numbers, stay open) go along. 0 or -errno.
long send_request(int socket, const control::Request& request, const int* fds = nullptr, uint32_t fd_count = 0);
// Receives one reply, waiting for it. 0; -EMFILE: `reply` is filled in, but this process has no room for the descriptors that came
// with it; -EPIPE: the server is gone; -EPROTO: not a reply; -errno.
long receive_reply(int socket, control::Reply& reply, DescriptorList& fds);

// --- server end ---

// A listening socket at `path`, SO_PASSCRED set, non-blocking, close-on-exec. ≥ 0 or -errno. Does not remove a stale path.
long listen_control(std::string_view path, int backlog);
// Accepts one connection (non-blocking, close-on-exec, SO_PASSCRED). ≥ 0, -EAGAIN when none waits, or -errno.
long accept_control(int listener);
// A connection made at once: what accept_control() would give, and the client's end of it (blocking, close-on-exec). 0 or -errno.
long pair_control(OwnedFd& server, OwnedFd& client);
// Closes a descriptor that came with a message and is not wanted.
using Discard = void (*)(int fd);
// Receives one request without waiting. 0; -EAGAIN: none; -EPIPE: the client is gone; -EPROTO: not a request (wrong size,
// too many descriptors): the client should be dropped; -EMFILE: the request is there, but descriptors of it are lost; -errno.
// Descriptors of a refused message go to `discard` (nullptr: close): closing what a stranger has sent can block.
long receive_request(int socket, control::Request& request, DescriptorList& fds, Credentials& credentials,
                     Discard discard = nullptr);
// Sends one reply without waiting. 0; -EAGAIN: the client does not read; -errno.
long send_reply(int socket, const control::Reply& reply, const int* fds = nullptr, uint32_t fd_count = 0);

}  // namespace ferry::ipc

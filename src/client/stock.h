// Descriptors K of a channel and an engine that no socket uses: ferryd hands them over in batches, and sockets of this process that are closed
// leave theirs here for the next ones (server/stock.h has the other half). So neither socket(2) nor accept(2) waits for ferryd to
// pass a descriptor, and the kernel's objects behind it are not made again.
//
// A K is kept only if no copy of it can be elsewhere, because its last copy's end is what tells ferryd that a socket is closed:
// whoever makes copies that are not seen at the descriptor itself says so (forget_copies), and a child lets go of what its parent keeps.
//
// Threads: everything by any thread. Kept descriptors are close-on-exec and private (Config::private_fd_floor).
#pragma once

#include <cstdint>

#include "client/mutex.h"
#include "ipc/abi.h"
#include "ipc/control_socket.h"

namespace ferry::client {

class Channel;

// What K is, whatever its number: fstat(2)'s device and inode.
struct Identity {
  uint64_t device = 0, inode = 0;
  bool known() const { return inode != 0; }
  bool operator==(const Identity&) const = default;
  // Of a descriptor; unknown if there is none.
  static Identity of(int fd);
};

class Stock {
 public:
  // A K that has left the stock for a socket.
  struct Taken {
    int fd = -1;
    uint32_t pair = ipc::control::kNoPair;
    uint32_t slot = 0, generation = 0;  // of a spare socket
    uint32_t copies = 0;                // see keep()
    Identity identity;
  };
  // How the program wants its descriptor.
  struct Flags {
    bool nonblocking = false, close_on_exec = false;
  };

  Stock(Channel& channel, uint32_t engine) : channel_(channel), engine_(engine) {}

  // The K of a socket that is open already, as the lowest free number, asking ferryd for more if need be. 0; -EAGAIN: there is none;
  // -EMFILE.
  int open(ipc::abi::SocketKind kind, Flags flags, Taken& out);
  // The K of this pair, which ferryd has given a connection. 0; -EMFILE or -ECONNABORTED, and the connection is gone: there is no number
  // for it, or K has just been dropped.
  int take(uint32_t pair, Flags flags, Taken& out);
  // The K of the oldest connection that the listener with these words offers (ipc/abi.h, offer_of). 0; -EAGAIN: nothing is offered; -ENOENT: what is
  // cannot be taken, ask for it; otherwise as take().
  int claim(ipc::abi::SocketShared& listener, Flags flags, Taken& out);
  // ferryd had to make a K for an accepted connection: asks for some to be kept, if there is room for more.
  void grow_for_accept();
  // Keeps a copy of K, whose socket is being closed under the number `fd`. `copies`: what Taken said. False: not to be kept.
  bool keep(uint32_t pair, int fd, uint32_t copies, const Identity& identity, bool nonblocking);
  // A K of this stock is closed for good.
  void lose();
  // Closes everything that is kept. False: that was nothing.
  bool drop();
  // A reply to Op::stock. Before any later reply is looked at.
  void receive(const ipc::control::Reply& reply, ipc::DescriptorList& fds);

  // --- copies that are not made through the descriptor ---
  // Every K in use now may be copied: by a program that is started without fork(2).
  static void forget_copies();
  // Around fork: keeps the stock still, and has the child close its copies of what is kept.
  static void before_fork();
  static void after_fork_in_parent();
  static void after_fork_in_child();
  // A child that will not call after_fork_in_child(): nothing is kept when it comes to be.
  static void before_clone();

 private:
  static constexpr int kAbsent = -1, kDropped = -2;
  struct Kept {
    int fd = kAbsent;
    bool nonblocking = true;
    Identity identity;
  };
  int open_spare(bool stream, Flags flags, Taken& out);
  int issue(uint32_t pair, Flags flags, Taken& out);
  int take_locked(uint32_t pair, Flags flags, Taken& out);
  bool grow(ipc::abi::SocketKind kind, uint32_t flags);
  bool drop_locked(uint32_t except = ipc::control::kNoPair);

  Channel& channel_;
  const uint32_t engine_;
  Mutex mutex_;
  Kept kept_[ipc::abi::kMaxPairs];
  uint32_t taken_[2] = {};   // entries of the spare rings
  uint32_t batch_ = 1;       // how many to ask for next
  uint32_t owned_ = 0;       // of this stock, in use ones included
  uint32_t most_ = 0;        // of these, by RLIMIT_NOFILE
};

}  // namespace ferry::client

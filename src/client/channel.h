// This process's channel to ferryd: control socket, mapping, output pool, slot table. Opened on first use; again in a child after
// fork, after set*id (renew), and after a restart of ferryd. Sockets keep the channel that they are at home in.
//
// Threads: everything here may be called by any thread. The data path takes no lock of the channel but the output pool's, once
// per block. Channels are never destroyed: a thread may be anywhere in one; a process has one, seldom a few.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "client/mutex.h"
#include "ipc/block_fifo.h"
#include "ipc/channel_layout.h"
#include "ipc/control_socket.h"

namespace ferry::client {

class Socket;

struct Config {
  std::string path = ipc::control::kDefaultSocketPath;
  bool kernel_mode = false;         // --scheme copy: sockets are opened in kernel mode
  uint32_t spin_ns = 20'000;        // longest adaptive spin before a blocking call sleeps; 0 never. Ignored on one CPU
  int private_fd_floor = 0;         // own descriptors are moved to at least this number (0: stay where they are)
  // Told of every descriptor number that belongs to libferry itself, when it appears and before it goes. May be null.
  void (*on_private_fd)(int fd, bool added) = nullptr;
};

// Payload bytes copied by this process, over all channels and sockets (gone ones included).
struct CopyCounters {
  uint64_t out = 0;  // program → output pool
  uint64_t in = 0;   // input pool → program
};

class Channel final : public ipc::BlockFifo::Source {
 public:
  // Before first use; later calls affect later channels.
  static void configure(const Config& config);
  static const Config& config();

  // The channel of this process, opened if there is none. 0, or -errno: connect(2)'s errors (-ENOENT, -ECONNREFUSED, -EACCES: no
  // server), -EPROTO: version mismatch between libferry and ferryd (logged), -ENOMEM, -ENFILE (refused by quota).
  static int current(Channel*& out);
  // The open channel of this process, or nullptr.
  static Channel* existing();
  // Sockets opened from now on use a new channel (set*id).
  static void renew();

  // --- control calls ---
  // One request, one reply; fills in `sequence`. 0; the reply's error as -errno; -ENETDOWN: ferryd is gone.
  // Blocks, uninterrupted by signals; one call of a process at a time.
  int call(ipc::control::Request& request, ipc::control::Reply& reply, const int* fds = nullptr, uint32_t fd_count = 0,
           ipc::DescriptorList* received = nullptr);

  // --- data path ---
  // Tells the server that `slot` has something for it; writes the kick only if it sleeps.
  void ring(uint32_t engine, uint32_t slot);
  bool server_awake(uint32_t engine) const;
  const ipc::ChannelMap& map() const { return map_; }
  ipc::abi::SocketShared& shared(uint32_t slot) const { return map_.socket(slot); }
  Result<ipc::Pool::Run> allocate_block(uint32_t bytes) override;
  void release_block(uint64_t offset) override;

  // --- slots ---
  // Which socket is at home in `slot`; nullptr none. The pointer may be stale unless the caller keeps the socket alive.
  Socket* socket_at(uint32_t slot) const;
  void set_socket(uint32_t slot, Socket* socket);
  // Takes over the output of a socket that this process no longer uses; its blocks are released when the server is done with
  // them (completed, or the slot has gone on). `blocks` is left empty.
  void retire_output(uint32_t slot, uint32_t generation, ipc::BlockFifo& blocks);
  // Looks whether retired output is done; called when the pool runs dry and now and then.
  void reap();

  // --- life ---
  // False in a child after fork: nothing of the mapping may be touched there.
  bool is_mine() const;
  bool is_dead() const;     // ferryd is gone (or this channel failed)
  // Looks at the lifeline; marks the channel dead, logs it once and wakes every thread that waits on one of its sockets.
  bool check_alive();
  void mark_dead();
  const ipc::control::ServerInfo& server() const { return info_; }
  int lifeline() const { return lifeline_.get(); }

  // Interface `index` of the server. 0, -EINVAL past the last, -errno.
  int interface(uint32_t index, ipc::control::InterfaceInfo& out);

  static CopyCounters copy_counters();

 private:
  struct RetiredOutput;
  Channel() = default;
  static int open(Channel*& out);
  int hello(ipc::OwnedFd control);

  ipc::OwnedFd control_, kick_, lifeline_;
  ipc::ChannelMap map_;
  ipc::control::ServerInfo info_{};
  uint32_t token_ = 0;       // process_token() of the process it belongs to
  uint32_t dead_ = 0;
  Mutex control_mutex_;      // control_, sequence_
  uint32_t sequence_ = 0;
  Mutex pool_mutex_;         // pool_
  ipc::Pool* pool_ = nullptr;
  Mutex slots_mutex_;        // retired_
  RetiredOutput* retired_ = nullptr;
  Socket** sockets_ = nullptr;  // by slot; atomic words
};

// True if `fd` looks like a Ferry socket made by the ferryd that we would talk to: AF_UNIX, and SO_PEERCRED of it names the
// server process. A hint, cheap and without a channel of our own being opened; Socket::attach proves it.
bool looks_like_ferry(int fd);

}  // namespace ferry::client

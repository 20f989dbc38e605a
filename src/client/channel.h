// This process's channel to ferryd: control connections, mapping, output pool, slot table. Opened on first use; again in a child after
// fork, after set*id (renew), and after a restart of ferryd. Sockets keep the channel that they are at home in.
//
// Threads: everything here may be called by any thread. The data path takes no lock of the channel but the output pool's, once
// per block. Channels are never destroyed: a thread may be anywhere in one; a process has one, seldom a few.
#pragma once

#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/atomics.h"
#include "client/mutex.h"
#include "client/peers.h"
#include "client/stock.h"
#include "ipc/block_fifo.h"
#include "ipc/channel_layout.h"
#include "ipc/control_socket.h"

namespace ferry::client {

class InputWindow;
class Socket;
struct Home;

struct Config {
  std::string path = ipc::control::kDefaultSocketPath;
  bool kernel_mode = false;         // --scheme copy: sockets are opened in kernel mode
  int private_fd_floor = 0;         // own descriptors are moved to at least this number (0: stay where they are)
  // Signal that tells this process of ferryd's death while its threads sleep without time-out; libferry has installed a handler
  // that calls Channel::on_lifeline_signal(). 0, or in threads that block it: sleepers look every now and then (client/deadline.h), by
  // Sys::futex_wait_slice.
  int lifeline_signal = 0;
  // Told of every descriptor number that belongs to libferry itself, when it appears and before it goes. May be null.
  void (*on_private_fd)(int fd, bool added) = nullptr;
};

// Payload bytes passed by this process, over all channels and sockets (gone ones included).
struct CopyCounters {
  uint64_t out = 0;  // program → output pool
  uint64_t in = 0;   // input pool → program
  uint64_t referenced = 0;  // output that was referred to where the program has it: not copied
  uint64_t swapped = 0;     // input in pages that were exchanged: not copied
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
  // For the child's side of fork, at once: closes the descriptors of the parent's channels, so that the server sees the
  // parent's end. (A child made behind our back does it when it first needs a channel.)
  static void after_fork_in_child();
  // Around execve(2): the lifeline's signal must not reach the new program, which has no handler for it, and would be killed. What the kernel
  // closes first at exec is the server's business: it may see the end of the control connection, and answer, before the lifeline is closed.
  static void before_exec();
  static void after_failed_exec();
  // Async-signal-safe: finds out which channels' servers are gone, and wakes who waits for them.
  static void on_lifeline_signal();
  // Whether that signal would come to this thread: there is one, and it is not blocked.
  static bool hears_lifeline();

  // --- control calls ---
  // One request to an engine of the server, one reply; fills in `sequence`. 0; the reply's error as -errno; -ENETDOWN: ferryd is gone.
  // Blocks, uninterrupted by signals; one call to an engine at a time. A first call connects to the engine.
  int call(uint32_t engine, ipc::control::Request& request, ipc::control::Reply& reply, const int* fds = nullptr, uint32_t fd_count = 0,
           ipc::DescriptorList* received = nullptr);

  // --- data path ---
  // Tells the server that `slot` has something for it; writes the kick only if it sleeps.
  void ring(uint32_t engine, uint32_t slot);
  // The same for what a sleeping server is told otherwise: it finds the bell with the next one, if that is sooner.
  void ring_without_kick(uint32_t engine, uint32_t slot);
  bool server_awake(uint32_t engine) const;
  // Whether any engine that this process uses is awake.
  bool any_awake() const;
  uint32_t engines() const { return map_.layout().engines; }
  // For a socket to be opened: TCP in turns, all else has the first.
  uint32_t choose_engine(ipc::abi::SocketKind kind);
  const ipc::ChannelMap& map() const { return map_; }
  ipc::abi::SocketShared& shared(uint32_t slot) const { return map_.socket(slot); }
  Result<ipc::Pool::Run> allocate_block(uint32_t bytes) override;
  void release_block(uint64_t offset) override;
  void release_reference(uint64_t token) override;

  // --- regions (client/regions.h), under their mutex ---
  // Whether the engine has region `number` as its `serial`-th.
  bool knows_region(uint32_t engine, uint32_t number, uint32_t serial) const { return lines_[engine]->region_serials[number - 1] == serial; }
  void set_region(uint32_t engine, uint32_t number, uint32_t serial) { lines_[engine]->region_serials[number - 1] = serial; }

  // --- slots ---
  // Which socket is at home in `slot`; nullptr none. The pointer may be stale unless the caller keeps the socket alive.
  Socket* socket_at(uint32_t slot) const;
  // `home` belongs to `socket` and stays until clear_socket().
  void set_socket(uint32_t slot, Socket* socket, Home* home);
  // Forgets the slot if it is still `home`'s.
  void clear_socket(uint32_t slot, const Home* home);
  // Takes over the output of a socket that this process no longer uses; its blocks are released when the server is done with
  // them (completed, or the slot has gone on). `blocks` is left empty.
  void retire_output(uint32_t slot, uint32_t generation, ipc::BlockFifo& blocks);
  // Takes back what retire_output() got for that slot and generation; false: nothing is outstanding there.
  bool reclaim_output(uint32_t slot, uint32_t generation, ipc::BlockFifo& blocks);
  // The same for memory that was lent for input; see InputWindow.
  void retire_input(uint32_t slot, uint32_t generation, InputWindow& window);
  void reclaim_input(uint32_t slot, uint32_t generation, InputWindow& window);
  // Releases what the server is done with: retired output and input memory, and, if the pool runs dry or `all` of it is wanted, completed output of
  // sockets that are not sending.
  void reap(bool all = false);
  // Bytes of one socket's output that may be outstanding now: as much as is free. So N busy sockets converge to an (N + 1)th
  // of the pool each, and none starves (dynamic thresholds). Never less than a page.
  uint64_t output_limit() const;

  // Descriptors for sockets to come, of an engine that has been called.
  Stock& stock(uint32_t engine) { return lines_[engine]->stock; }
  template <typename Visit>
  void for_each_stock(Visit visit) {
    for (Line*& line : lines_)
      if (Line* l = load_acquire(line); l != nullptr) visit(l->stock);
  }
  // Closes the descriptors that are kept. False: there are none.
  bool drop_stock();
  Peers& peers() { return peers_; }
  // Lets go of pages that went to other clients and that these are done with, by whatever channel of this process.
  static void reap_pages();

  // --- libferry's own descriptors ---
  // Moves the descriptor to Config::private_fd_floor or above and announces it.
  static ipc::OwnedFd keep_private(ipc::OwnedFd fd);
  // Announces its end and closes it.
  static void drop_private(ipc::OwnedFd& fd);

  // --- life ---
  // False in a child after fork: nothing of the mapping may be touched there.
  bool is_mine() const;
  bool is_dead() const;       // ferryd is gone (or this channel failed)
  bool is_superseded() const; // set*id: sockets move to the new channel when they are used next
  bool is_usable() const;     // neither
  // Looks at the lifeline; marks the channel dead, logs it once and wakes every thread that waits on one of its sockets.
  bool check_alive();
  void mark_dead();
  const ipc::control::ServerInfo& server() const { return info_; }
  uint32_t longest_spin() const { return info_.client_spin_ns; }  // ns

  // Interface `index` of the server. 0, -EINVAL past the last, -errno.
  int interface(uint32_t index, ipc::control::InterfaceInfo& out);

  // Whether the server has a route to this address (IPv4, host order), and it is none of its own: a connect to it begins at once, and only
  // its peer, or want of ports, can end it.
  bool reaches(uint32_t address);

  // The server's pid as this process sees it (its pid namespace): SO_PEERCRED of the control socket.
  uint32_t server_pid_here() const;

  static CopyCounters copy_counters();
  // What a socket had copied when it leaves its home.
  static void add_copied(const CopyCounters& copied);

 private:
  struct RetiredOutput;
  struct RetiredInput;
  struct SlotEntry {
    Socket* socket = nullptr;  // atomic
    Home* home = nullptr;      // under slots_mutex_
  };
  // The way to one engine.
  struct Line {
    Line(Channel& channel, uint32_t engine) : stock(channel, engine) {}
    ipc::OwnedFd control, kick;
    Mutex mutex;  // control, sequence
    uint32_t sequence = 0;
    uint32_t region_serials[ipc::abi::kMaxRegions] = {};
    Stock stock;
  };
  Channel() = default;
  static int open(Channel*& out);
  int hello();
  int connect_to(uint32_t engine);
  int exchange(Line& line, ipc::control::Request& request, ipc::control::Reply& reply, const int* fds, uint32_t fd_count,
               ipc::DescriptorList& received);
  void close_descriptors();
  void arm_lifeline();
  bool set_async(bool on);
  void reap_sockets();
  bool has_gone_on(uint32_t slot, uint32_t generation) const;

  ipc::OwnedFd lifeline_;
  ipc::ChannelMap map_;
  ipc::control::ServerInfo info_{};
  std::vector<ipc::control::InterfaceInfo> interfaces_;  // asked for once, under interfaces_mutex_
  Mutex interfaces_mutex_;
  uint32_t token_ = 0;       // process_token() of the process it belongs to
  enum State : uint32_t { kOpen, kSuperseded, kDead };
  uint32_t state_ = kOpen;   // atomic
  Mutex lines_mutex_;        // making lines
  Line* lines_[ipc::abi::kMaxEngines] = {};  // atomic; the first is there from the beginning, all stay
  uint32_t next_engine_ = 0; // atomic
  Mutex pool_mutex_;         // pool_
  std::optional<ipc::Pool> pool_;
  Mutex slots_mutex_;        // retired_, retired_input_, slots_[].home
  RetiredOutput* retired_ = nullptr;
  RetiredInput* retired_input_ = nullptr;
  std::vector<SlotEntry> slots_;
  Peers peers_{*this};
  Channel* next_ = nullptr;  // all channels of this process and its ancestors
};

// Whether an error of Channel::current() says that no ferryd that we could use is there (any more).
inline bool is_without_server(int error) {
  return error == -ENETDOWN || error == -ENOENT || error == -ECONNREFUSED || error == -EPROTO;
}

// True if `fd` looks like a Ferry socket made by the ferryd that we would talk to: AF_UNIX, and SO_PEERCRED of it names the
// server process; where that cannot be reached, the one that this process or its ancestors talked to last. A hint; Socket::attach proves it.
bool looks_like_ferry(int fd);

}  // namespace ferry::client

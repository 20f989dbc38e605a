// What the engines have in common of one client's channel: its mapping, and the pipes by which the client's event queues are woken. Each
// engine has a Channel of its own on it, with slots and input memory that are its alone.
//
// Threads: the mapping is divided by engine (ChannelLayout::slots_of, input_of); pipes are opened by the first engine, written by all.
// Owns: the mapping, which lasts as long as any engine's part; the pipes, which last as long as the client.
#pragma once

#include <sys/types.h>

#include <memory>
#include <utility>

#include "base/atomics.h"
#include "ipc/channel_layout.h"
#include "server/unique_fd.h"

namespace ferry::server {

class ChannelMemory {
 public:
  struct Identity {  // of the process that opened it, for `ferry ss` and quotas
    pid_t pid = 0;
    uid_t uid = 0;
  };
  // Makes the sealed memfd and maps it. Errc::invalid, no_memory.
  static Result<std::shared_ptr<ChannelMemory>> create(const ipc::ChannelConfig& config, Identity identity);
  ~ChannelMemory();
  ChannelMemory(const ChannelMemory&) = delete;
  ChannelMemory& operator=(const ChannelMemory&) = delete;

  ipc::ChannelMap& map() { return map_; }
  const ipc::ChannelMap& map() const { return map_; }
  const Identity& identity() const { return identity_; }

  // --- the first engine ---
  // Whether this is the first time that engine `n` gets a part; leave: it did not.
  bool join(uint32_t n) {
    if ((std::exchange(joined_, joined_ | 1u << n) & 1u << n) != 0) return false;
    atomic_add(wakers_, 1u);
    return true;
  }
  void leave(uint32_t n) {
    joined_ &= ~(1u << n);
    stop_waking();
  }
  // Makes the pipe of a queue, if it had none yet; the caller hands the returned read end to the client. Invalid: cannot, or no such
  // queue. A pipe stays until the client has ended in every engine: one may be about to write to it.
  UniqueFd open_queue(uint32_t queue);

  // --- every engine ---
  // The client has ended, or is not to be served any more. True the first time: the other engines are to be told.
  bool end() { return atomic_exchange(ended_, 1u) == 0; }
  bool ended() const { return load_acquire(ended_) != 0; }
  void wake_queue(uint32_t queue) const;
  // The client has ended in this engine, which calls wake_queue and open_wake_end no more. The last one closes the pipes.
  void stop_waking();
  // The write end of the queue's pipe, opened anew for somebody else who may wake it: what that one does to its own description does
  // not concern the others. Invalid: no such queue, or no descriptors left.
  UniqueFd open_wake_end(uint32_t queue) const;
  // Queues that have a pipe have lower numbers.
  uint32_t queue_count() const;

 private:
  ChannelMemory(ipc::ChannelMap map, Identity identity) : map_(std::move(map)), identity_(identity) {}
  int write_end(uint32_t queue) const;
  void close_queues();

  ipc::ChannelMap map_;
  Identity identity_;
  int write_ends_[ipc::abi::kMaxQueues] = {};  // atomic; descriptor + 1, 0: none
  uint32_t queue_count_ = 0;                   // atomic
  uint32_t wakers_ = 1;                        // atomic; engines
  uint32_t ended_ = 0;                         // atomic
  uint32_t joined_ = 1;                        // bits of engines
};

}  // namespace ferry::server

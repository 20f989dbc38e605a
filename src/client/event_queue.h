// An event queue of this process's channel: the sockets watched by one epoll set, or by one thread in poll, report here.
//
// Use: watch() the sockets; take() the slots that had events and ask readiness() of each; before sleeping prepare_sleep(), then
// wait for fd() to become readable together with whatever else the caller waits for (ppoll, or the program's epoll set),
// then finish_sleep() in every case. Bits are edges: a slot is reported once per change, or more often, never less.
//
//   awake --prepare_sleep() true--> sleeping --fd readable or time-out--> finish_sleep() --> awake: take()
//     ^--------- false: something is there, finish_sleep(), take() ----------'
//
// Several threads may sleep on one queue (an epoll set shared by workers). After fork the child opens its own.
#pragma once

#include <cstdint>

#include "client/adaptive_spin.h"
#include "client/channel.h"
#include "client/mutex.h"
#include "client/sleepers.h"

namespace ferry::client {

class Socket;

class EventQueue {
 public:
  EventQueue() = default;
  EventQueue(const EventQueue&) = delete;
  EventQueue& operator=(const EventQueue&) = delete;
  ~EventQueue() { close(); }

  // Takes a free queue of this process's channel. 0; -ENOSPC: all abi::kMaxQueues are in use; -errno of Channel::current and call.
  int open();
  void close();
  bool is_open() const { return channel_ != nullptr; }
  // Whether it belongs to this process and a living channel; otherwise close() and open() again, and watch again.
  bool is_current() const;

  // Readable when the server woke a sleeper. Belongs to the queue; only poll it.
  int fd() const { return fd_.get(); }

  // Reports `socket` here from now on; its bit is set at once, so that the next take() looks at it. Attaches the socket if needed.
  // 0; -ENOSPC: it reports to abi::kWatches queues already; -EXDEV: it is at home in another channel (renew) or in kernel mode:
  // watch K itself with the kernel's poll; -errno.
  int watch(Socket& socket, int k);
  void unwatch(Socket& socket);

  // Takes up to `capacity` slots whose bit was set, in any order; those beyond stay set. Returns how many.
  uint32_t take(uint32_t* slots, uint32_t capacity);
  // When the last event of a slot was that the server told (abi::SocketShared::event_time).
  uint32_t event_time(uint32_t slot) const { return load_relaxed(channel_->map().socket(slot).event_time); }
  // Sets the bit of a slot again: for a level-triggered caller that stopped before all was consumed.
  void repost(uint32_t slot);
  // Which socket is in that slot: Channel::socket_at.
  Socket* socket_at(uint32_t slot) const { return channel_->socket_at(slot); }

  // Begins a wait: in user space first, adaptively, if `allowed`. True: a bit is set; otherwise go on with prepare_sleep().
  bool spin(bool allowed);
  // One thread's sleep, or that of all threads of a set that this queue's set is in.
  struct Sleep {
    uint32_t process = 0;  // Sleepers::enter(); 0: it is awake
  };
  // True: nothing is set; the caller may sleep. Pair every call with finish_sleep(), which does nothing for who is awake. The queue may be
  // opened, or opened anew, meanwhile: the sleep is then announced to that one.
  bool prepare_sleep(Sleep& sleep);
  void finish_sleep(Sleep& sleep);
  bool has_sleepers() const { return sleepers_.any(); }
  // Takes back a wake-up that came when nobody slept any more.
  void drain();
  // Wakes threads that sleep on the queue (its set of sockets changed).
  void wake();
  // The same if there are any.
  void wake_sleepers();

 private:
  friend class Socket;
  ipc::abi::EventQueue& shared() const;
  void register_at(Socket& socket, Home& h, uint32_t place);
  bool any(Channel& channel) const;
  bool announce_sleep();
  void read_pipe();

  Channel* channel() const { return __atomic_load_n(&channel_, __ATOMIC_ACQUIRE); }

  Channel* channel_ = nullptr;  // never destroyed; who holds no lock of the queue's user looks at it once
  uint32_t index_ = 0;
  ipc::OwnedFd fd_;          // read end of the server's pipe
  AdaptiveSpin spin_;
  Mutex mutex_;              // opening, announcing, draining fd_
  Sleepers sleepers_;
};

}  // namespace ferry::client

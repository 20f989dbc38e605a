// The descriptors that wake the engine: one epoll set. Handlers are told in the turn's own thread; a handler that is removed in
// the middle of a batch is not called any more.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <vector>

#include "base/time.h"
#include "server/unique_fd.h"

namespace ferry::server {

class PollHandler {
 public:
  // `events` as of epoll(7).
  virtual void on_poll(uint32_t events) = 0;

 protected:
  ~PollHandler() = default;
};

class Poller {
 public:
  // Throws std::system_error without an epoll instance.
  Poller();
  // False: the kernel refused (too many descriptors).
  [[nodiscard]] bool add(int fd, PollHandler& handler, uint32_t events);
  void modify(int fd, PollHandler& handler, uint32_t events);
  // Before the descriptor is closed and the handler destroyed.
  void remove(int fd, PollHandler& handler);
  // Waits at most `timeout` (never(): for ever; zero: not at all), then calls the handlers. Returns how many events there were.
  int wait(Duration timeout);
  static constexpr Duration forever() { return Duration::max(); }

 private:
  static constexpr int kBatch = 128;
  UniqueFd epoll_;
  epoll_event events_[kBatch];
  int position_ = 0, count_ = 0;  // of the batch being dispatched
};

}  // namespace ferry::server

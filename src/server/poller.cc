#include "server/poller.h"

#include <cerrno>
#include <system_error>

namespace ferry::server {

Poller::Poller() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  if (!epoll_) throw std::system_error(errno, std::generic_category(), "epoll_create1");
}

bool Poller::add(int fd, PollHandler& handler, uint32_t events) {
  epoll_event e{};
  e.events = events;
  e.data.ptr = &handler;
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e) == 0;
}

void Poller::modify(int fd, PollHandler& handler, uint32_t events) {
  epoll_event e{};
  e.events = events;
  e.data.ptr = &handler;
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &e);
}

void Poller::remove(int fd, PollHandler& handler) {
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  for (int i = position_; i < count_; ++i)
    if (events_[i].data.ptr == &handler) events_[i].data.ptr = nullptr;
}

int Poller::wait(Duration timeout) {
  timespec t{static_cast<time_t>(timeout.count_seconds()), static_cast<long>(timeout.count_ns() % 1'000'000'000)};
  count_ = epoll_pwait2(epoll_.get(), events_, kBatch, timeout == forever() ? nullptr : &t, nullptr);
  if (count_ < 0) count_ = 0;  // EINTR: a signal; its descriptor tells next time
  int n = count_;
  for (position_ = 0; position_ < count_;) {
    epoll_event& e = events_[position_++];
    if (e.data.ptr != nullptr) static_cast<PollHandler*>(e.data.ptr)->on_poll(e.events);
  }
  count_ = 0;
  return n;
}

}  // namespace ferry::server

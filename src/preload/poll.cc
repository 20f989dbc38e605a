// Owns poll and ppoll. Ferry sockets are asked through shared memory; only when nothing is ready does the thread sleep, in the
// kernel's poll on the kernel descriptors and on the thread's event queue, which every Ferry socket then reports to.
#include "preload/poll.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utility>

#include "client/event_queue.h"
#include "client/guarded_copy.h"
#include "ipc/syscall.h"
#include "preload/cancel.h"
#include "preload/epoll_set.h"
#include "preload/real.h"
#include "preload/remaining_time.h"
#include "preload/signals.h"
#include "preload/socket_file.h"
#include "preload/thread_queue.h"

namespace ferry::preload {
namespace {

constexpr nfds_t kMostDescriptors = 1 << 20;  // the kernel's limit on open files bounds it at most so

thread_local client::EventQueue& t_queue = thread_queue();

// When a socket reports to too many queues already, or no queue is left: look again this often.
constexpr timespec kFallbackTick{0, 1'000'000};
constexpr timespec kNow{0, 0};
constexpr int64_t kOneDayNs = int64_t{86'400} * 1'000'000'000;

// The libc function that the program waits by, with ppoll's arguments. The kernel is asked by no other: a seccomp filter of the program's may know none.
using Call = int (*)(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask);
int by_poll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t*) { return real().poll(fds, count, to_milliseconds(timeout)); }
int by_ppoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) { return real().ppoll(fds, count, timeout, mask); }

// One poll call: which of the program's entries are ours, and what the kernel is asked instead.
class PollCall {
 public:
  PollCall(Call call, pollfd* fds, nfds_t count) : call_(call), fds_(fds), count_(count) {}
  ~PollCall() {
    unwatch_all();  // also when the thread is cancelled in the wait
    for (nfds_t i = 0; i < used_; ++i) items_[i].~Item();
    if (items_ != reinterpret_cast<Item*>(small_)) free(items_);
  }
  PollCall(const PollCall&) = delete;
  PollCall& operator=(const PollCall&) = delete;

  int run(const timespec* timeout, const sigset_t* mask);

 private:
  struct Item {
    FileRef<> file;
    nfds_t index;      // in fds_
    nfds_t twin = 0;   // index in kernel_ of the twin listener, 0 none
    bool watched = false;
    client::EventQueue::Sleep sleep{};  // on an epoll set
  };
  static constexpr nfds_t kSmall = 64;

  bool prepare();
  bool is_native(Item& item);
  nfds_t evaluate();
  int look_at_kernel();
  short of_set(Item& item, short revents);
  nfds_t merge();
  // needless: ferryd is gone, nothing can happen to our sockets; impossible: they must be looked at again and again.
  enum class Watching { all, needless, impossible };
  Watching watch_all();
  void unwatch_all();
  void end_sleep(client::EventQueue::Sleep& sleep);
  int sleep(RemainingTime& remaining, const sigset_t* mask);
  bool can_wait_for_one() const;
  int wait_for_one(RemainingTime& remaining);

  Call call_;
  pollfd* fds_;
  nfds_t count_;
  Item* items_ = reinterpret_cast<Item*>(small_);
  nfds_t used_ = 0;
  bool watching_ = false;     // t_queue knows of this call
  pollfd* kernel_ = nullptr;  // behind items_: count_ entries, twins, the queue
  nfds_t kernel_count_ = 0;   // without the queue
  bool spun_ = false;           // a spin of this call has ended a wait
  bool kernel_wanted_ = false;  // some descriptor is the kernel's
  alignas(8) char small_[kSmall * (sizeof(Item) + 2 * sizeof(pollfd)) + sizeof(pollfd)];
};

// Finds our entries. False: out of memory.
bool PollCall::prepare() {
  nfds_t ours = 0;
  for (nfds_t i = 0; i < count_; ++i) ours += fd_table().contains(fds_[i].fd) ? 1 : 0;
  if (count_ > kSmall) {
    items_ = static_cast<Item*>(malloc(ours * sizeof(Item) + (count_ + ours + 1) * sizeof(pollfd)));
    if (items_ == nullptr) return items_ = reinterpret_cast<Item*>(small_), false;
  }
  kernel_ = reinterpret_cast<pollfd*>(items_ + ours);
  memcpy(kernel_, fds_, count_ * sizeof(pollfd));
  kernel_count_ = count_;
  for (nfds_t i = 0; i < count_; ++i) {
    kernel_[i].revents = 0;
    if (fds_[i].fd < 0) continue;
    FileRef<> file = used_ < ours ? fd_table().get(fds_[i].fd) : FileRef<>();
    if (!file) {
      kernel_wanted_ = true;
      continue;
    }
    Item* item = new (&items_[used_]) Item{std::move(file), i};
    if (is_native(*item)) {
      item->~Item();
      kernel_wanted_ = true;
      continue;
    }
    ++used_;
    if (item->file->kind() == FileKind::epoll) {
      kernel_wanted_ = true;  // stays in the kernel's list: it may hold kernel descriptors, and it is how we are woken
      continue;
    }
    kernel_[i].fd = -1;
    if (int twin = static_cast<SocketFile*>(item->file.get())->twin.load(); twin >= 0) {
      item->twin = kernel_count_;
      kernel_[kernel_count_++] = {twin, static_cast<short>(fds_[i].events & (POLLIN | POLLRDNORM)), 0};
      kernel_wanted_ = true;
    }
  }
  return true;
}

bool PollCall::is_native(Item& item) {
  if (item.file->kind() != FileKind::socket) return item.file->kind() == FileKind::netlink;
  return static_cast<SocketFile*>(item.file.get())->in_kernel_mode(fds_[item.index].fd);
}

// Fills in revents of our entries; how many are ready.
nfds_t PollCall::evaluate() {
  nfds_t ready = 0;
  for (nfds_t i = 0; i < used_; ++i) {
    pollfd& p = fds_[items_[i].index];
    uint32_t bits = 0;
    if (items_[i].file->kind() == FileKind::epoll)
      bits = static_cast<EpollSet*>(items_[i].file.get())->has_ready(p.fd) ? POLLIN | POLLRDNORM : 0;
    else
      bits = static_cast<SocketFile*>(items_[i].file.get())->socket.readiness(p.fd);
    p.revents = static_cast<short>(bits & (static_cast<uint16_t>(p.events) | POLLERR | POLLHUP));
    ready += p.revents != 0 ? 1 : 0;
  }
  return ready;
}

// What the kernel's descriptors are like now that one of ours is ready: they are told together, and are not to starve.
int PollCall::look_at_kernel() { return kernel_wanted_ ? call_(kernel_, kernel_count_, &kNow, nullptr) : 0; }

// What the kernel said of an epoll set: it is also readable by what wakes threads.
short PollCall::of_set(Item& item, short revents) {
  constexpr short kReadable = POLLIN | POLLRDNORM;
  const pollfd& p = fds_[item.index];
  if ((revents & kReadable) == 0 || (p.revents & kReadable) != 0) return revents;
  const bool readable = static_cast<EpollSet*>(item.file.get())->is_readable(p.fd);
  return static_cast<short>(readable ? revents : revents & ~kReadable);
}

// Adds what the kernel said to the program's entries; how many are ready altogether.
nfds_t PollCall::merge() {
  for (nfds_t i = 0; i < used_; ++i) {
    Item& item = items_[i];
    if (item.twin != 0 && kernel_[item.twin].revents != 0)
      fds_[item.index].revents |= static_cast<short>(kernel_[item.twin].revents & (POLLIN | POLLRDNORM));
    // An epoll set's descriptor is also readable because of our own queue in it: only has_ready() and kernel events count.
  }
  nfds_t next = 0, ready = 0;
  for (nfds_t i = 0; i < count_; ++i) {
    bool ours = next < used_ && items_[next].index == i;
    if (!ours) fds_[i].revents = fds_[i].fd < 0 ? short{0} : kernel_[i].revents;
    else if (items_[next].file->kind() == FileKind::epoll) fds_[i].revents |= of_set(items_[next], kernel_[i].revents);
    next += ours ? 1 : 0;
    ready += fds_[i].revents != 0 ? 1 : 0;
  }
  return ready;
}

PollCall::Watching PollCall::watch_all() {
  if (t_queue.is_open() && !t_queue.is_current()) unwatch_all(), t_queue.close();
  if (!t_queue.is_open()) {
    if (const int error = t_queue.open(); error != 0) return error == -ENETDOWN ? Watching::needless : Watching::impossible;
  }
  watching_ = true;
  bool all = true;
  for (nfds_t i = 0; i < used_; ++i) {
    Item& item = items_[i];
    if (item.file->kind() != FileKind::socket) continue;
    if (is_native(item)) {  // since it was watched: the kernel says from now on
      kernel_[item.index].fd = fds_[item.index].fd;
      kernel_wanted_ = true;
      continue;
    }
    if (item.watched) continue;
    const int error = t_queue.watch(static_cast<SocketFile*>(item.file.get())->socket, fds_[item.index].fd);
    item.watched = error == 0;
    all &= error == 0 || error == -ENETDOWN;
  }
  return all ? Watching::all : Watching::impossible;
}

void PollCall::unwatch_all() {
  if (!watching_) return;
  const int saved_errno = errno;
  for (nfds_t i = 0; i < used_; ++i)
    if (std::exchange(items_[i].watched, false)) t_queue.unwatch(static_cast<SocketFile*>(items_[i].file.get())->socket);
  uint32_t slots[64];
  // Not in a child that a signal handler has made meanwhile: the queue is the parent's.
  while (t_queue.is_current() && t_queue.take(slots, 64) == 64) {}
  errno = saved_errno;
}

// Ends what prepare_sleep() began, also when the thread is cancelled in between.
void PollCall::end_sleep(client::EventQueue::Sleep& sleep) {
  const int saved_errno = errno;
  for (nfds_t i = 0; i < used_; ++i) {
    if (items_[i].file->kind() != FileKind::epoll) continue;
    auto* set = static_cast<EpollSet*>(items_[i].file.get());
    set->finish_sleep(items_[i].sleep);
    set->pass_on();
  }
  t_queue.finish_sleep(sleep);
  errno = saved_errno;
}

// Sleeps until something may be ready. Results of the kernel's part are in kernel_. >= 0 or -1 and errno.
int PollCall::sleep(RemainingTime& remaining, const sigset_t* mask) {
  uint32_t slots[64];
  const Watching watching = watch_all();
  const bool queue = watching == Watching::all;
  bool quiet = true;
  if (queue)
    while (t_queue.take(slots, 64) == 64) {}
  if (watching != Watching::impossible && evaluate() != 0) return look_at_kernel();  // after watching, and after the bits were cleared
  // A signal that only `mask` lets through comes in the kernel's call.
  if (queue && t_queue.spin(!spun_ && mask == nullptr)) {
    spun_ = true;
    return look_at_kernel();
  }
  struct Sleep {
    PollCall& call;
    client::EventQueue::Sleep of_queue{};
    ~Sleep() { call.end_sleep(of_queue); }
  } until_done{*this};
  if (queue) quiet = t_queue.prepare_sleep(until_done.of_queue);
  for (nfds_t i = 0; i < used_; ++i)
    if (items_[i].file->kind() == FileKind::epoll)
      quiet &= static_cast<EpollSet*>(items_[i].file.get())->prepare_sleep(fds_[items_[i].index].fd, items_[i].sleep);
  if (!quiet) return look_at_kernel();
  nfds_t count = kernel_count_;
  if (queue) kernel_[count++] = {t_queue.fd(), POLLIN, 0};
  bool tick = watching == Watching::impossible && (remaining.left() == nullptr || remaining.left_ns() > kFallbackTick.tv_nsec);
  return call_(kernel_, count, tick ? &kFallbackTick : remaining.left(), mask);
}

bool PollCall::can_wait_for_one() const { return !static_cast<SocketFile*>(items_[0].file.get())->socket.has_parts(); }

// The commonest case, one socket and nothing else: wait as a blocking call does, which may spin.
int PollCall::wait_for_one(RemainingTime& remaining) {
  pollfd& p = fds_[items_[0].index];
  auto& socket = static_cast<SocketFile*>(items_[0].file.get())->socket;
  for (;;) {
    int64_t left = remaining.left_ns();
    // With a time-out the wait is interrupted by every handler, as poll is; without one it would be restarted.
    int bits = socket.wait(p.fd, static_cast<uint16_t>(p.events), left < 0 ? kOneDayNs : left);
    if (bits < 0) {
      errno = -bits;
      return -1;
    }
    p.revents = static_cast<short>(bits & (static_cast<uint16_t>(p.events) | POLLERR | POLLHUP));
    if (p.revents != 0) break;
    if (remaining.expired()) return 0;
  }
  return 1;
}

int PollCall::run(const timespec* timeout, const sigset_t* mask) {
  if (!prepare()) {
    errno = ENOMEM;
    return -1;
  }
  if (used_ == 0) return call_(fds_, count_, timeout, mask);  // ours, but the kernel carries all of them
  RemainingTime remaining(timeout);
  nfds_t ready = evaluate();
  if (ready == 0 && !kernel_wanted_ && used_ == 1 && count_ == 1 && mask == nullptr && !remaining.expired() && can_wait_for_one())
    return wait_for_one(remaining);
  if (ready != 0 || remaining.expired()) {
    if (!kernel_wanted_ && mask == nullptr) return static_cast<int>(merge());
    int result = call_(kernel_, kernel_count_, &kNow, mask);
    return result < 0 && ready == 0 ? -1 : static_cast<int>(merge());
  }
  int result = 0;
  for (;;) {
    for (nfds_t i = 0; i < kernel_count_; ++i) kernel_[i].revents = 0;
    if (sleep(remaining, mask) < 0) {
      result = -1;
      break;
    }
    evaluate();
    result = static_cast<int>(merge());
    if (result > 0 || remaining.expired()) break;
  }
  return result;
}

int poll_by(Call call, pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) {
  bool ours = false;
  const bool there = count <= kMostDescriptors && client::is_writable(fds, count * sizeof(pollfd)) &&
                     (timeout == nullptr || client::is_readable(timeout, sizeof(*timeout))) && (mask == nullptr || client::is_readable(mask, kKernelSetSize));
  if (there)  // else the kernel says what is wrong
    for (nfds_t i = 0; i < count && !ours; ++i) ours = fd_table().contains(fds[i].fd);
  if (!ours) return call(fds, count, timeout, mask);
  cancellation_point();
  return PollCall(call, fds, count).run(timeout, mask);
}

int poll_ms(pollfd* fds, nfds_t count, int timeout_ms) {
  timespec timeout{timeout_ms / 1000, (timeout_ms % 1000) * 1'000'000L};
  return poll_by(by_poll, fds, count, timeout_ms < 0 ? nullptr : &timeout, nullptr);
}

}  // namespace

int poll_files(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) { return poll_by(by_ppoll, fds, count, timeout, mask); }

FERRY_EXPORT int poll(pollfd* fds, nfds_t count, int timeout_ms) { return poll_ms(fds, count, timeout_ms); }

FERRY_EXPORT int ppoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) {
  if (timeout != nullptr && client::is_readable(timeout, sizeof(*timeout)) && (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec > 999'999'999)) {
    errno = EINVAL;
    return -1;
  }
  return poll_files(fds, count, timeout, mask);
}

FERRY_EXPORT int __poll_chk(pollfd* fds, nfds_t count, int timeout_ms, size_t size) {
  if (size / sizeof(pollfd) < count) return real().__poll_chk(fds, count, timeout_ms, size);  // reports the overflow
  return poll_ms(fds, count, timeout_ms);
}

FERRY_EXPORT int __ppoll_chk(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask, size_t size) {
  if (size / sizeof(pollfd) < count) return real().__ppoll_chk(fds, count, timeout, mask, size);
  return poll_files(fds, count, timeout, mask);
}

}  // namespace ferry::preload

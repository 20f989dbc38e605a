// Owns epoll sets' registrations: epoll_ctl(2) and everything that changes what is watched. Waiting is in epoll_wait.cc, what concerns
// threads that sleep in epoll_sleep.cc.
#include "preload/epoll_set.h"

#include <errno.h>
#include <sys/random.h>

#include <new>

#include "client/guarded_copy.h"
#include "client/process.h"
#include "preload/epoll_marker.h"
#include "preload/log.h"
#include "preload/private_fds.h"
#include "preload/real.h"
#include "preload/socket_file.h"

namespace ferry::preload {
namespace {

constinit client::Mutex g_sets_mutex;  // g_free, g_all; taken before a set's own
EpollSet* g_free = nullptr;
EpollSet* g_all = nullptr;

constexpr uint32_t kExclusiveAllowed = EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE;

int kernel_control(int epfd, int op, int fd, uint32_t events, uint64_t data) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = data;
  return static_cast<int>(ipc::raw_syscall(SYS_epoll_ctl, epfd, op, fd, ipc::arg(&event)));
}

}  // namespace

uint64_t marker_base() {
  static uint64_t base = 0;
  uint64_t value = __atomic_load_n(&base, __ATOMIC_RELAXED);
  if (value != 0) return value;
  uint64_t fresh = 0;
  ipc::raw_syscall(SYS_getrandom, ipc::arg(&fresh), sizeof(fresh), 0);
  fresh |= 1;
  uint64_t expected = 0;
  return __atomic_compare_exchange_n(&base, &expected, fresh, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED) ? fresh : expected;
}

FileRef<EpollSet> epoll_set_of(int fd) {
  FileRef<> file = fd_table().get(fd);
  if (!file || file->kind() != FileKind::epoll) return {};
  return FileRef<EpollSet>(static_cast<EpollSet*>(file.take()));
}

// Some number that names the set now, for changes that do not come from a call on it: the one last used, as a rule.
int EpollSet::number() const {
  if (fd_table().names(last_number_, this)) return last_number_;
  int found = -1;
  fd_table().for_each([&](int fd, OpenFile* file) {
    if (file == this) found = fd;
  });
  return found;
}

FileRef<EpollSet> EpollSet::create() {
  client::Guard guard(g_sets_mutex);
  EpollSet* set = g_free;
  if (set != nullptr) {
    g_free = set->next_free_;
  } else {
    set = new (std::nothrow) EpollSet;
    if (set == nullptr) return {};
    set->next_of_all_ = g_all;
    g_all = set;
  }
  set->token_ = client::process_token();
  set->revive();
  return FileRef<EpollSet>(set);
}

void EpollSet::retire() {
  {
    client::Guard guard(mutex_);
    for (auto& [fd, r] : registrations_) {
      if (r->file->kind() == FileKind::epoll) stop_sleep_below(*r);
      else if (!r->native && r->file->kind() == FileKind::socket && queue_.is_open()) queue_.unwatch(socket_of(*r)->socket);
    }
    registrations_.clear();
    kernel_.clear();
    by_slot_.clear();
    ready_head_ = ready_tail_ = nullptr;
    ready_count_ = kernel_sources_ = nested_count_ = since_kernel_ = 0;
    queue_.close();
    drop_alarm();
  }
  client::Guard guard(g_sets_mutex);
  next_free_ = g_free;
  g_free = this;
}

// A thread that holds the mutex of a set may want that of one in it: so none is waited for while others are held.
void EpollSet::lock_all() {
  constexpr timespec kMoment{0, 20'000};
  for (;;) {
    g_sets_mutex.lock();
    EpollSet* set = g_all;
    while (set != nullptr && set->mutex_.try_lock()) set = set->next_of_all_;
    if (set == nullptr) return;
    for (EpollSet* held = g_all; held != set; held = held->next_of_all_) held->mutex_.unlock();
    g_sets_mutex.unlock();
    ipc::raw_syscall(SYS_nanosleep, ipc::arg(&kMoment), 0);
  }
}

void EpollSet::unlock_all() {
  for (EpollSet* set = g_all; set != nullptr; set = set->next_of_all_) set->mutex_.unlock();
  g_sets_mutex.unlock();
}

SocketFile* EpollSet::socket_of(const Registration& r) const { return static_cast<SocketFile*>(r.file); }

int EpollSet::control(int epfd, int op, int fd, epoll_event* event) {
  FileRef<> file = fd_table().get(fd);
  if (file && file->kind() == FileKind::netlink) file.reset();  // the kernel's in all that concerns readiness
  if (op != EPOLL_CTL_DEL && !client::is_readable(event, sizeof(*event))) return -EFAULT;
  client::Guard guard(mutex_);
  if (int error = make_current(epfd); error != 0) return error;
  auto known = registrations_.find(fd);
  if (!file) {
    if (known != registrations_.end()) remove(epfd, *known->second);  // its number was freed and is a kernel descriptor now
    int error = static_cast<int>(ipc::raw_syscall(SYS_epoll_ctl, epfd, op, fd, ipc::arg(event)));
    if (error != 0) return error;
    if (op == EPOLL_CTL_DEL) kernel_.erase(fd);
    else kernel_[fd] = *event;
    return 0;
  }
  if (file.get() == this) return -EINVAL;
  if (known != registrations_.end() && known->second->file != file.get()) {
    remove(epfd, *known->second);
    known = registrations_.end();
  }
  switch (op) {
    case EPOLL_CTL_ADD:
      return known != registrations_.end() ? -EEXIST : add(epfd, fd, std::move(file), *event);
    case EPOLL_CTL_MOD:
      return known == registrations_.end() ? -ENOENT : modify(epfd, *known->second, *event);
    case EPOLL_CTL_DEL:
      if (known == registrations_.end()) return -ENOENT;
      remove(epfd, *known->second);
      return 0;
  }
  return -EINVAL;
}

int EpollSet::add(int epfd, int fd, FileRef<> file, const epoll_event& event) {
  if ((event.events & EPOLLEXCLUSIVE) != 0 && (event.events & ~kExclusiveAllowed) != 0) return -EINVAL;
  auto fresh = std::make_unique<Registration>();
  Registration& r = *fresh;
  r.file = file.get();
  r.fd = fd;
  r.events = event.events;
  r.data = event.data;
  kernel_.erase(fd);  // if that one was closed, and its number is ours now
  registrations_[fd] = std::move(fresh);
  file->add_watcher(this);
  if (int error = start_watching(epfd, r); error != 0) {
    remove(epfd, r);
    return error;
  }
  if (r.file->names() != 0) return 0;
  remove(epfd, r);  // closed meanwhile, before it knew of this set
  return -EBADF;
}

// Puts the registration's source into the event queue or into E, and has it looked at once.
int EpollSet::start_watching(int epfd, Registration& r) {
  if (r.file->kind() == FileKind::epoll) {
    if (int error = add_below(epfd, r); error != 0) return error;
    r.counted = true;
    ++kernel_sources_;
    __atomic_store_n(&nested_count_, nested_count_ + 1, __ATOMIC_SEQ_CST);
    if (queue_.has_sleepers()) set_of(r).prepare_sleep(r.fd, r.sleep);  // is looked at in any case
  } else {
    SocketFile& file = *socket_of(r);
    int error = file.native.load() ? -EXDEV : open_queue(epfd);
    if (error == 0) error = queue_.watch(file.socket, r.fd);
    if (error == -EXDEV) {
      go_native(epfd, r);
      return r.native ? 0 : -EPERM;
    }
    if (error != 0 && error != -ENETDOWN) return error;  // ferryd is gone: nothing to watch, but something to tell
    uint32_t slot = error == 0 ? file.socket.slot() : ~0u;
    if (slot != ~0u) {
      if (by_slot_.size() <= slot) by_slot_.resize(slot + 1);
      by_slot_[slot] = &r;
    }
    if (int twin = file.twin.load(); twin >= 0 && r.twin < 0) {
      if (kernel_control(epfd, EPOLL_CTL_ADD, twin, EPOLLIN | EPOLLET, marker_of(twin)) == 0) {
        r.twin = twin;
        ++kernel_sources_;
      }
    }
  }
  enlist(r);
  wake_sleepers();
  return 0;
}

// The kernel is asked first, whether the sets make a loop: nothing below is locked if they do. An inherited one that has to have an E of its
// own gets it before ours watches it.
int EpollSet::add_below(int epfd, Registration& r) {
  int error = kernel_control(epfd, EPOLL_CTL_ADD, r.fd, EPOLLIN | EPOLLET, marker_of(r.fd));
  if (error != 0 || is_inherited() || !set_of(r).is_inherited()) return error;
  kernel_control(epfd, EPOLL_CTL_DEL, r.fd, 0, 0);
  client::Guard guard(set_of(r).mutex_);
  set_of(r).make_current(r.fd);
  return kernel_control(epfd, EPOLL_CTL_ADD, r.fd, EPOLLIN | EPOLLET, marker_of(r.fd));
}

int EpollSet::modify(int epfd, Registration& r, const epoll_event& event) {
  if (((event.events | r.events) & EPOLLEXCLUSIVE) != 0) return -EINVAL;
  r.events = event.events;
  r.data = event.data;
  r.armed = true;
  if (r.native) return kernel_control(epfd, EPOLL_CTL_MOD, r.fd, r.events, r.data.u64);
  enlist(r);
  wake_sleepers();
  return 0;
}

// `closed`: by its last number in this process. E, if it is the parent's still, goes on to watch it for the parent.
void EpollSet::remove(int epfd, Registration& r, bool closed) {
  const auto drop = [&](int fd) {
    if (!closed || !is_inherited()) kernel_control(epfd, EPOLL_CTL_DEL, fd, 0, 0);
    --kernel_sources_;
  };
  unlist(r);
  if (r.native) {
    drop(r.fd);
  } else if (r.counted) {
    drop(r.fd);
    __atomic_store_n(&nested_count_, nested_count_ - 1, __ATOMIC_SEQ_CST);
    stop_sleep_below(r);
  } else if (r.file->kind() == FileKind::socket) {
    if (queue_.is_open()) queue_.unwatch(socket_of(r)->socket);
    if (r.twin >= 0) drop(r.twin);
  }
  for (Registration*& hint : by_slot_)
    if (hint == &r) hint = nullptr;
  registrations_.erase(r.fd);
}

// A set that a child inherited with Ferry sockets in it is to become private: the copy of E gets K then, and the parent's is left alone.
void EpollSet::go_native(int epfd, Registration& r) {
  unlist(r);
  const bool later = is_inherited() && queue_.is_open();
  if (!later && kernel_control(epfd, EPOLL_CTL_ADD, r.fd, r.kernel_events(), r.data.u64) != 0) return;
  r.native = true;
  ++kernel_sources_;
}

int EpollSet::open_queue(int epfd) {
  if (queue_.is_open()) return 0;
  if (is_inherited()) {
    if (int error = make_private(epfd); error != 0) return error;
  }
  if (int error = queue_.open(); error != 0) return error;
  int error = kernel_control(epfd, EPOLL_CTL_ADD, queue_.fd(), EPOLLIN, queue_marker());
  if (error != 0) queue_.close();
  return error;
}

// After fork, or when ferryd has ended: a queue of our own, and everything watched anew.
int EpollSet::make_current(int epfd) {
  last_number_ = epfd;
  const bool inherited = is_inherited();
  const bool outdated = queue_.is_open() && !queue_.is_current();
  if (inherited && (outdated || has_private_below())) {
    if (int error = make_private(epfd); error != 0) return error;
  }
  if (!outdated) return 0;
  if (!inherited) kernel_control(epfd, EPOLL_CTL_DEL, queue_.fd(), 0, 0);
  queue_.close();
  by_slot_.clear();
  std::vector<int> dead;
  for (auto& [fd, r] : registrations_) {
    if (r->native || r->file->kind() == FileKind::epoll) continue;
    if (start_watching(epfd, *r) != 0) dead.push_back(fd);
  }
  for (int fd : dead) {
    FERRY_LOG_WARN("descriptor %d in an epoll set cannot be watched any more", fd);
    remove(epfd, *registrations_[fd]);
  }
  return 0;
}

// Of an inherited set: whether one below has an E of its own now, or has to have one. Ours holds the parent's.
bool EpollSet::has_private_below() {
  bool found = false;
  if (nested_count_ != 0) {
    for (auto& [fd, r] : registrations_) {
      if (r->file->kind() != FileKind::epoll) continue;
      client::Guard guard(set_of(*r).mutex_);
      set_of(*r).make_current(fd);
      found |= !set_of(*r).is_inherited();
    }
  }
  return found;
}

// Replaces E, which the parent process uses too, by a copy, under all of its numbers; and those of the sets in it, whose numbers the copy takes.
int EpollSet::make_private(int epfd) {
  FERRY_LOG_DEBUG("epoll set %d was inherited over fork and becomes private to this process", epfd);
  for (auto& [fd, r] : registrations_) {
    if (r->file->kind() != FileKind::epoll) continue;
    client::Guard guard(set_of(*r).mutex_);
    if (!set_of(*r).is_inherited()) continue;
    if (int error = set_of(*r).make_private(fd); error != 0) return error;
  }
  long copy = ipc::raw_syscall(SYS_epoll_create1, EPOLL_CLOEXEC);
  if (copy < 0) return static_cast<int>(copy);
  for (auto it = kernel_.begin(); it != kernel_.end();) {
    const auto& [fd, event] = *it;
    // One that was closed left E in silence; its number may name another file now, and is in E if the kernel says so.
    const int error = kernel_control(epfd, EPOLL_CTL_ADD, fd, 0, queue_marker());
    if (error == 0) kernel_control(epfd, EPOLL_CTL_DEL, fd, 0, 0);
    if (error == -EEXIST) kernel_control(static_cast<int>(copy), EPOLL_CTL_ADD, fd, event.events, event.data.u64);
    it = error == -EEXIST ? std::next(it) : kernel_.erase(it);
  }
  for (auto& [fd, r] : registrations_) {
    r->twin = -1;  // is not in it yet
    if (r->native) kernel_control(static_cast<int>(copy), EPOLL_CTL_ADD, fd, r->kernel_events(), r->data.u64);
    if (r->file->kind() == FileKind::epoll) {
      kernel_control(static_cast<int>(copy), EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, marker_of(fd));
      enlist(*r);
    }
  }
  drop_alarm();
  fd_table().for_each([&](int fd, OpenFile* file) {
    if (file != this) return;
    long flags = ipc::raw_syscall(SYS_fcntl, fd, F_GETFD);
    ipc::raw_syscall(SYS_dup3, copy, fd, flags > 0 && (flags & FD_CLOEXEC) != 0 ? O_CLOEXEC : 0);
  });
  ipc::raw_syscall(SYS_close, copy);
  token_ = client::process_token();
  kernel_sources_ = 0;
  for (auto& [fd, r] : registrations_)
    if (r->native || r->file->kind() == FileKind::epoll) ++kernel_sources_;
  return 0;
}

void EpollSet::forget(OpenFile& file) {
  client::Guard guard(mutex_);
  for (auto it = registrations_.begin(); it != registrations_.end();) {
    Registration& r = *it->second;
    ++it;
    if (r.file == &file) remove(number(), r, true);
  }
}

void EpollSet::hand_to_kernel(SocketFile& file) {
  client::Guard guard(mutex_);
  int epfd = number();
  for (auto it = registrations_.begin(); it != registrations_.end();) {
    Registration& r = *it->second;
    ++it;
    if (r.file != &file || r.native) continue;
    if (queue_.is_open()) queue_.unwatch(file.socket);
    go_native(epfd, r);
  }
}

void EpollSet::give_away(SocketFile& file) {
  client::Guard guard(mutex_);
  int epfd = number();
  for (auto it = registrations_.begin(); it != registrations_.end();) {
    Registration& r = *it->second;
    ++it;
    if (r.file != &file) continue;
    epoll_event event{};
    event.events = r.kernel_events();
    event.data = r.data;
    const int fd = r.fd;
    // For the parent its numbers go on naming K.
    const bool is_private = !is_inherited() || make_private(epfd) == 0;
    remove(epfd, r, !is_private);
    if (is_private && kernel_control(epfd, EPOLL_CTL_ADD, fd, event.events, event.data.u64) == 0) kernel_[fd] = event;
  }
}

void EpollSet::watch_twin(SocketFile& file) {
  client::Guard guard(mutex_);
  if (is_inherited()) return;  // is watched in the copy of E, not in the parent's
  int epfd = number();
  int twin = file.twin.load();
  for (auto& [fd, r] : registrations_) {
    if (r->file != &file || r->twin >= 0 || twin < 0) continue;
    if (kernel_control(epfd, EPOLL_CTL_ADD, twin, EPOLLIN | EPOLLET, marker_of(twin)) != 0) continue;
    r->twin = twin;
    ++kernel_sources_;
  }
}

}  // namespace ferry::preload

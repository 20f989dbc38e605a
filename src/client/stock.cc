#include "client/stock.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/atomics.h"
#include "client/channel.h"

namespace ferry::client {

namespace abi = ipc::abi;
namespace control = ipc::control;
using ipc::arg;
using ipc::raw_syscall;

namespace {

uint32_t g_copies = 0;         // raised whenever copies of descriptors may come to be unseen; atomic
thread_local Channel* t_forking [[gnu::tls_model("initial-exec")]] = nullptr;  // whose stocks this thread, which forks, has locked
thread_local uint32_t t_locked [[gnu::tls_model("initial-exec")]] = 0;         // bits of engines

// An eighth of the numbers that the program may have.
uint32_t most_by_limit() {
  rlimit limit{};
  raw_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, arg(&limit));
  return static_cast<uint32_t>(std::min<uint64_t>(limit.rlim_cur / 8, abi::kMaxPairs));
}

void close_kept(int fd) {
  ipc::OwnedFd owned(fd);
  Channel::drop_private(owned);
}

}  // namespace

Identity Identity::of(int fd) {
  struct stat status;
  if (raw_syscall(SYS_fstat, fd, arg(&status)) != 0) return {};
  return {status.st_dev, status.st_ino};
}

int Stock::open(abi::SocketKind kind, Flags flags, Taken& out) {
  if (kind != abi::kKindTcp && kind != abi::kKindUdp) return -EAGAIN;  // no spares of these
  const bool stream = kind == abi::kKindTcp;
  int error = open_spare(stream, flags, out);
  if (error == -EAGAIN && grow(kind, control::kStockSpares)) error = open_spare(stream, flags, out);
  return error;
}

int Stock::open_spare(bool stream, Flags flags, Taken& out) {
  const uint32_t kind = stream ? 0 : 1;
  Guard guard(mutex_);
  const abi::SpareRing& ring = channel_.map().header().spares[engine_][kind];
  for (uint32_t n = load_acquire(ring.produced) - taken_[kind]; n > 0 && n <= abi::kMaxPairs; --n) {
    abi::Spare spare;
    std::memcpy(&spare, &ring.entries[taken_[kind] % abi::kMaxPairs], sizeof spare);
    if (spare.pair >= abi::kMaxPairs || spare.slot >= channel_.map().layout().max_sockets) return -EAGAIN;
    if (kept_[spare.pair].fd == kAbsent) return -EAGAIN;  // another thread is just receiving it
    if (kept_[spare.pair].fd >= 0) {
      const int error = issue(spare.pair, flags, out);
      if (error != 0) return error;
      out.slot = spare.slot;
      out.generation = spare.generation;
      ++taken_[kind];
      return 0;
    }
    kept_[spare.pair].fd = kAbsent;  // dropped meanwhile, and so is its socket
    ++taken_[kind];
  }
  return -EAGAIN;
}

// Makes the kept K the program's, under mutex_. 0 or -EMFILE, and it stays kept. The program's needs go before what else is kept.
int Stock::issue(uint32_t pair, Flags flags, Taken& out) {
  Kept& kept = kept_[pair];
  const int command = flags.close_on_exec ? F_DUPFD_CLOEXEC : F_DUPFD;
  long low = raw_syscall(SYS_fcntl, kept.fd, command, 0);
  if (low == -EMFILE && drop_locked(pair)) low = raw_syscall(SYS_fcntl, kept.fd, command, 0);
  if (low < 0) return static_cast<int>(low);
  close_kept(kept.fd);
  kept.fd = kAbsent;
  if (kept.nonblocking != flags.nonblocking) raw_syscall(SYS_fcntl, low, F_SETFL, O_RDWR | (flags.nonblocking ? O_NONBLOCK : 0));
  out.fd = static_cast<int>(low);
  out.pair = pair;
  out.copies = load_relaxed(g_copies);
  out.identity = kept.identity;
  return 0;
}

int Stock::take(uint32_t pair, Flags flags, Taken& out) {
  Guard guard(mutex_);
  return take_locked(pair, flags, out);
}

int Stock::claim(abi::SocketShared& listener, Flags flags, Taken& out) {
  Guard guard(mutex_);
  const uint32_t n = load_acquire(listener.rx_consumed);
  if (n == load_acquire(listener.rx_produced)) return -EAGAIN;
  abi::Descriptor offer;
  std::memcpy(&offer, &listener.rx[n % abi::kRingEntries], sizeof offer);
  const auto slot = static_cast<uint32_t>(offer.offset);
  if (offer.length >= abi::kMaxPairs || kept_[offer.length].fd < 0 || slot >= channel_.map().layout().max_sockets) return -ENOENT;
  if (!compare_exchange(listener.rx_consumed, n, n + 1)) return -EAGAIN;
  out.slot = slot;
  out.generation = static_cast<uint32_t>(offer.offset >> 32);
  return take_locked(offer.length, flags, out);
}

int Stock::take_locked(uint32_t pair, Flags flags, Taken& out) {
  if (pair >= abi::kMaxPairs || kept_[pair].fd < 0) return -ECONNABORTED;
  const int error = issue(pair, flags, out);
  if (error == 0) return 0;
  close_kept(kept_[pair].fd);  // nobody is going to have the connection
  kept_[pair].fd = kAbsent;
  --owned_;
  return error;
}

void Stock::grow_for_accept() { grow(abi::kKindTcp, 0); }

// Asks for the next batch, each twice the last. False: no more are to be had.
bool Stock::grow(abi::SocketKind kind, uint32_t flags) {
  control::Request request;
  {
    Guard guard(mutex_);
    if (most_ == 0) most_ = most_by_limit();
    if (owned_ >= most_) return false;
    request.level = static_cast<int32_t>(std::min({batch_, most_ - owned_, control::kMaxDescriptors}));
    batch_ = std::min(batch_ * 2, control::kMaxDescriptors);
  }
  request.op = static_cast<uint32_t>(control::Op::stock);
  request.value = kind;
  request.flags = flags;
  control::Reply reply;
  ipc::DescriptorList fds;
  const int error = channel_.call(engine_, request, reply, nullptr, 0, &fds);
  if (error == 0 && reply.value != 0) return true;
  Guard guard(mutex_);  // ferryd, or this process's table of descriptors, has no room for more
  most_ = std::min(most_, owned_);
  return false;
}

void Stock::receive(const control::Reply& reply, ipc::DescriptorList& fds) {
  Guard guard(mutex_);
  for (uint32_t i = 0; i < fds.count && (i + 1) * sizeof(uint32_t) <= reply.data_length; ++i) {
    uint32_t pair;
    std::memcpy(&pair, reply.data + i * sizeof pair, sizeof pair);
    if (pair >= abi::kMaxPairs) continue;
    ipc::OwnedFd fd = Channel::keep_private(fds.take(i));
    if (kept_[pair].fd >= 0) close_kept(kept_[pair].fd);
    else ++owned_;
    kept_[pair] = {fd.get(), true, Identity::of(fd.get())};
    fd.release();
  }
}

bool Stock::keep(uint32_t pair, int fd, uint32_t copies, const Identity& identity, bool nonblocking) {
  if (!identity.known()) return false;
  Guard guard(mutex_);
  if (copies != load_relaxed(g_copies) || kept_[pair].fd >= 0) return false;
  const long high = raw_syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, Channel::config().private_fd_floor);
  if (high < 0) return false;
  ipc::OwnedFd owned(static_cast<int>(high));
  if (Identity::of(owned.get()) != identity) return false;  // the number was freed unseen, and is something else now
  kept_[pair] = {Channel::keep_private(std::move(owned)).release(), nonblocking, identity};
  return true;
}

void Stock::lose() {
  Guard guard(mutex_);
  if (owned_ > 0) --owned_;
}

bool Stock::drop() {
  Guard guard(mutex_);
  return drop_locked();
}

bool Stock::drop_locked(uint32_t except) {
  bool any = false;
  for (Kept& kept : kept_) {
    if (kept.fd < 0 || (except != control::kNoPair && &kept == &kept_[except])) continue;
    any = true;
    close_kept(kept.fd);
    kept.fd = kDropped;
    if (owned_ > 0) --owned_;
  }
  return any;
}

void Stock::forget_copies() { atomic_add(g_copies, 1u); }

void Stock::before_fork() {
  Channel* channel = Channel::existing();
  if (channel == nullptr) return;
  channel->for_each_stock([](Stock& stock) {
    stock.mutex_.lock();
    t_locked |= 1u << stock.engine_;
  });
  forget_copies();
  t_forking = channel;
}

void Stock::after_fork_in_parent() {
  Channel* channel = t_forking;
  const uint32_t locked = t_locked;
  t_forking = nullptr;
  t_locked = 0;
  if (channel == nullptr) return;
  channel->for_each_stock([locked](Stock& stock) {  // one that came during the fork has not been locked
    if ((locked >> stock.engine_ & 1) != 0) stock.mutex_.unlock();
  });
}

void Stock::after_fork_in_child() {
  if (t_forking != nullptr) t_forking->for_each_stock([](Stock& stock) { stock.drop_locked(); });
  t_forking = nullptr;
  t_locked = 0;
}

void Stock::before_clone() {
  forget_copies();
  if (Channel* channel = Channel::existing(); channel != nullptr) channel->drop_stock();
}

}  // namespace ferry::client

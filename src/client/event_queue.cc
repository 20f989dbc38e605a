#include "client/event_queue.h"

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "base/atomics.h"
#include "client/process.h"
#include "client/socket.h"
#include "ipc/doorbell.h"
#include "ipc/event_queue.h"

namespace ferry::client {

namespace abi = ipc::abi;
namespace control = ipc::control;

abi::EventQueue& EventQueue::shared() const { return channel_->map().queue(index_); }

bool EventQueue::is_current() const {
  Channel* c = channel();
  return c != nullptr && c->is_mine() && c->is_usable();
}

int EventQueue::open() {
  Channel* channel = nullptr;
  if (const int error = Channel::current(channel); error != 0) return is_without_server(error) ? -ENETDOWN : error;
  uint32_t index = 0;
  const uint32_t count = channel->map().layout().max_queues;
  while (index < count && !compare_exchange(channel->map().queue(index).in_use, 0u, 1u)) ++index;
  if (index == count) return -ENOSPC;
  abi::EventQueue& q = channel->map().queue(index);
  control::Request request;
  control::Reply reply;
  ipc::DescriptorList fds;
  request.op = static_cast<uint32_t>(control::Op::event_queue);
  request.value = index;
  request.flags = control::kQueueOpen;
  int error = channel->call(0, request, reply, nullptr, 0, &fds);
  if (error == 0 && fds.count != 1) error = -EPROTO;
  if (error != 0) {
    store_release(q.in_use, 0u);
    return error;
  }
  store_relaxed(q.sleeping, 0u);
  ipc::take_slots(q.ready, abi::kMaxSockets, [](uint32_t) {});  // what the last user left
  channel->peers().clear(index);
  Guard guard(mutex_);
  index_ = index;
  __atomic_store_n(&channel_, channel, __ATOMIC_RELEASE);
  fd_ = channel->keep_private(fds.take(0));
  ipc::raw_syscall(SYS_fcntl, fd_.get(), F_SETFL, O_NONBLOCK);
  spin_.reset();
  if (sleepers_.any()) static_cast<void>(announce_sleep());
  return 0;
}

void EventQueue::close() {
  Guard guard(mutex_);
  if (channel_ == nullptr) return;
  channel_->drop_private(fd_);
  if (is_current()) store_release(shared().in_use, 0u);
  __atomic_store_n(&channel_, nullptr, __ATOMIC_RELEASE);
}

int EventQueue::watch(Socket& socket, int k) {
  Home* h = nullptr;
  if (const int error = socket.home(k, h); error != 0) return error;
  if (h->channel != channel_) return -EXDEV;
  if (load_acquire(h->shared->mode) == abi::kModeKernel) return -EXDEV;
  Guard guard(socket.mutex_);
  uint32_t free = abi::kWatches;
  for (uint32_t i = 0; i < abi::kWatches; ++i) {
    if (socket.watches_[i] == this) {
      register_at(socket, *socket.current_home(), i);
      return 0;
    }
    if (socket.watches_[i] == nullptr && free == abi::kWatches) free = i;
  }
  if (free == abi::kWatches) return -ENOSPC;
  socket.watches_[free] = this;
  register_at(socket, *socket.current_home(), free);
  socket.register_parts(*this, free);
  return 0;
}

// Caller holds the socket's mutex.
void EventQueue::register_at(Socket& socket, Home& h, uint32_t place) {
  if (h.channel != channel_) return;  // a queue of the parent's, or of the channel before set*id
  store_release(h.shared->watches[place], index_ + 1);
  full_fence();  // from here on the server sees the watch, or we see what it has done before
  socket.watch_passage(h, place, index_ + 1);
  repost(h.slot);
}

void EventQueue::unwatch(Socket& socket) {
  Guard guard(socket.mutex_);
  Home* h = socket.current_home();
  for (uint32_t i = 0; i < abi::kWatches; ++i) {
    if (socket.watches_[i] != this) continue;
    socket.watches_[i] = nullptr;
    socket.unregister_parts(i);
    if (h == nullptr || h->channel != channel_ || !channel_->is_mine()) continue;
    store_release(h->shared->watches[i], 0u);
    full_fence();
    socket.watch_passage(*h, i, 0);
  }
}

uint32_t EventQueue::take(uint32_t* slots, uint32_t capacity) {
  uint32_t taken = ipc::take_some_slots(shared().ready, channel_->map().layout().max_sockets, slots, capacity);
  taken += channel_->peers().take(index_, slots + taken, capacity - taken);
  // Others sleep while there is more than this thread can take.
  if (taken == capacity && sleepers_.any() && any(*channel_)) wake();
  return taken;
}

void EventQueue::repost(uint32_t slot) { ipc::set_slot(shared().ready, slot); }

bool EventQueue::spin(bool allowed) {
  Channel* c = channel();  // another thread may close the queue when ferryd has ended
  if (c == nullptr) return false;
  // The other clients that we share memory with tell nobody whether they are awake.
  return spin_.run(allowed ? c->longest_spin() : 0, [c] { return c->any_awake() || c->peers().any_region(); }, [this, c] { return any(*c); });
}

bool EventQueue::any(Channel& channel) const {
  return ipc::any_slot(channel.map().queue(index_).ready) || channel.peers().any(index_);
}

// To the server and to every client that we share memory with.
bool EventQueue::announce_sleep() {
  const bool quiet = ipc::prepare_sleep(shared());
  return channel_->peers().prepare_sleep(index_) && quiet;
}

bool EventQueue::prepare_sleep(Sleep& sleep) {
  Guard guard(mutex_);
  if (sleep.process != process_token()) sleep.process = sleepers_.enter();
  return channel_ == nullptr || !channel_->is_mine() || announce_sleep();
}

void EventQueue::wake_sleepers() {
  if (is_current() && sleepers_.any()) wake();
}

void EventQueue::finish_sleep(Sleep& sleep) {
  Guard guard(mutex_);
  const uint32_t process = std::exchange(sleep.process, 0);
  if (process != process_token()) return;  // awake, or in a child, where nobody sleeps
  sleepers_.leave(process);
  if (!is_current()) return;
  spin_.slept(channel_->longest_spin());
  ipc::end_sleep(shared());
  channel_->peers().end_sleep(index_);
  read_pipe();
  // Others sleep on: announce them again. What is set now is for this thread to take.
  if (sleepers_.any()) static_cast<void>(announce_sleep());
}

void EventQueue::drain() {
  Guard guard(mutex_);
  if (is_current() && !sleepers_.any()) read_pipe();
}

// A byte is a wake-up; one that is still under way only wakes once more for nothing. The pipe ends with ferryd, also for a program that
// blocks the lifeline's signal.
void EventQueue::read_pipe() {
  char bytes[64];
  if (ipc::raw_syscall(SYS_read, fd_.get(), ipc::arg(bytes), sizeof bytes) == 0) channel_->check_alive();
}

void EventQueue::wake() {
  control::Request request;
  control::Reply reply;
  request.op = static_cast<uint32_t>(control::Op::event_queue);
  request.value = index_;
  request.flags = control::kQueueWake;
  if (Channel* c = channel(); c != nullptr) c->call(0, request, reply);
}

}  // namespace ferry::client

// Where a socket is at home: attaching after fork and exec, asking for it back from another process, leaving.
#include <sys/socket.h>

#include <cerrno>

#include "base/atomics.h"
#include "client/errno.h"
#include "client/event_queue.h"
#include "client/passage.h"
#include "client/ring_lock.h"
#include "client/socket.h"
#include "ipc/lock.h"

namespace ferry::client {

namespace abi = ipc::abi;
namespace control = ipc::control;
using control::Op;

namespace {
bool is_at_home(uint32_t mode) { return mode == abi::kModeShared || mode == abi::kModePassing; }
}

int Socket::home(int k, Home*& out) {
  Home* h = current_home();
  if (__builtin_expect(h != nullptr && h->channel->is_mine(), 1)) {
    out = h;
    if (__builtin_expect(h->channel->is_usable(), 1)) return 0;
    if (h->channel->is_dead()) return -ENETDOWN;
  }
  if (kind_ == 0) return -EBADF;
  const int error = attach(k);
  out = current_home();
  return error;
}

int Socket::attach(int k, Socket** twin) {
  Guard guard(mutex_);
  Home* old = current_home();
  const bool superseded = old != nullptr && old->channel->is_mine();
  if (superseded && old->channel->is_usable()) return 0;
  Channel* channel = nullptr;
  if (const int error = Channel::current(channel); error != 0) return is_without_server(error) ? -ENETDOWN : error;
  control::Request request;
  control::Reply reply;
  request.op = static_cast<uint32_t>(Op::attach);
  // The engine that has the socket knows K; it is the one where this process, or its parent, had it, or any.
  uint32_t engine = old != nullptr ? old->engine : 0;
  int error = channel->call(engine, request, reply, &k, 1);
  for (uint32_t i = 0; error == -EBADF && i < channel->engines(); ++i)
    if (i != (old != nullptr ? old->engine : 0)) error = channel->call(engine = i, request, reply, &k, 1);
  if (error == -EBADF) return -ENOTSOCK;
  if (error != 0) return error;
  if (reply.slot >= channel->map().layout().max_sockets) return -EPROTO;
  Socket* other = channel->socket_at(reply.slot);
  if (other != nullptr && other != this) {
    if (twin != nullptr) *twin = other;
    return -EEXIST;
  }
  if (superseded) {
    // The rings of the old home are free of our own threads only after the server has revoked their locks.
    if (load_acquire(channel->shared(reply.slot).mode) == abi::kModeMoved) {
      if (const int e = ask_home(*channel, engine, reply.slot, reply.generation, reply); e != 0) return e;
    }
    leave_parts();
    leave(*old);
  }
  // Here for the first time: they are queues of the parent process.
  for (EventQueue*& w : watches_)
    if (!superseded || (w != nullptr && !w->is_current())) w = nullptr;
  adopt(channel, reply.slot, reply.generation);
  if (is_listening()) join_parts(k);
  return 0;
}

void Socket::inherit(const Socket& other) {
  kind_ = other.kind_;
  message_ = other.message_;
  v6_ = other.v6_;
  connecting_ = other.connecting_;
  kernel_mode_ = other.kernel_mode_;
  local_options_ = other.local_options_;
  receive_low_water_ = other.receive_low_water_;
  receive_timeout_ns_ = other.receive_timeout_ns_;
  send_timeout_ns_ = other.send_timeout_ns_;
}

Home* Socket::make_home(Channel& channel, uint32_t slot, uint32_t generation) {
  auto* h = new Home;
  h->channel = &channel;
  h->slot = slot;
  h->generation = generation;
  h->shared = &channel.shared(slot);
  const uint32_t engine = load_relaxed(h->shared->engine);
  h->engine = engine < channel.engines() ? engine : 0;
  return h;
}

// The home that was left when the socket last had this slot; nullptr: none that can be used again. Of a stream's, passages and lent memory may still be
// in use; streams that move often go to kernel mode. Otherwise a thread that still looks at it is not misled: it takes the slot's lock, and then sees
// a generation that is not the slot's, or one behind which all is ready. Without the lock it may see that there is no room for output, and is told
// of the move afterwards as everybody who watches the socket. Caller holds mutex_.
Home* Socket::take_older(const Channel& channel, uint32_t slot) {
  if (home_ == nullptr || is_stream()) return nullptr;
  Home** link = &home_->older;
  while (*link != nullptr && ((*link)->channel != &channel || (*link)->slot != slot)) link = &(*link)->older;
  Home* h = *link;
  if (h == nullptr) return nullptr;
  *link = h->older;
  h->write_shut = false;
  h->rx_used = 0;
  h->oob_taken_mark = 0;
  return h;
}

// Caller holds mutex_, or is alone with the socket.
void Socket::adopt(Channel* channel, uint32_t slot, uint32_t generation) {
  Home* h = take_older(*channel, slot);
  if (h == nullptr) h = make_home(*channel, slot, generation);
  abi::SocketShared& s = *h->shared;
  // A slot that this process left and comes back to goes on where it was.
  h->tx.start_at(load_relaxed(s.tx_produced));
  h->rx.start_at(load_relaxed(s.rx_consumed));
  h->rx_bytes = load_relaxed(s.rx_consumed_bytes);
  if (!channel->reclaim_output(slot, generation, h->output)) h->output.start_at(load_acquire(s.tx_completed));
  h->input.start_at(s);
  channel->reclaim_input(slot, generation, h->input);
  if (const uint32_t kind = load_relaxed(s.kind); kind != 0) kind_ = kind;
  pair_ = control::kNoPair;
  store_release(h->generation, generation);
  h->older = home_;
  __atomic_store_n(&home_, h, __ATOMIC_RELEASE);
  channel->set_socket(slot, this, h);
  apply_watches(*h);
}

void Socket::adopt(Channel* channel, const Stock::Taken& taken) {
  adopt(channel, taken.slot, taken.generation);
  pair_ = taken.pair;
  copies_ = taken.copies;
  identity_ = taken.identity;
}

void Socket::apply_watches(Home& h) {
  for (uint32_t i = 0; i < abi::kWatches; ++i) {
    if (watches_[i] == nullptr) continue;
    watches_[i]->register_at(*this, h, i);
    watches_[i]->wake_sleepers();  // who sleeps there has looked at another home
  }
}

// The home's output goes on its way without us.
void Socket::leave(Home& h) {
  if (!h.channel->is_mine()) return;
  h.channel->clear_socket(h.slot, &h);
  if (load_acquire(h.shared->generation) == h.generation)
    for (uint32_t& watch : h.shared->watches) store_relaxed(watch, 0u);
  h.channel->retire_output(h.slot, h.generation, h.output);
  Channel::add_copied({h.copied_out, h.copied_in, h.referenced_out, h.swapped_in});
  h.copied_out = h.copied_in = h.referenced_out = h.swapped_in = 0;
}

Socket::CloseBell Socket::close_bell(int k, bool only_copy, bool nonblocking) {
  Home* h = current_home();
  if (h == nullptr || !h->channel->is_mine() || !h->channel->is_usable()) return {};
  const bool shared = !kernel_mode_ && is_at_home(load_acquire(h->shared->mode)) &&
                      load_relaxed(h->shared->generation) == load_relaxed(h->generation);
  bool kept = false;
  if (pair_ != control::kNoPair) {
    Stock& stock = h->channel->stock(h->engine);
    kept = shared && only_copy && !is_listener() && stock.keep(pair_, k, copies_, identity_, nonblocking);
    if (!kept) stock.lose();
  }
  if (!shared) return {};
  atomic_or(h->shared->wants, uint32_t{kept ? abi::kWantGiveBack : abi::kWantClose});
  return {h->channel, h->engine, h->slot, kept};
}

void Socket::close() {
  Home* h = current_home();
  if (h != nullptr && kind_ == abi::kKindTcp && h->channel->is_mine() && h->rx_used > 0 && is_at_home(load_acquire(h->shared->mode)) &&
      load_acquire(h->shared->generation) == h->generation) {
    // Somebody else may have K and give it back to us: the entry shows what has not been read of it.
    abi::Descriptor& entry = h->shared->rx[h->rx.next() % abi::kRingEntries];
    entry.offset += h->rx_used;
    entry.length -= h->rx_used;
  }
  leave_parts();
  if (h != nullptr) leave(*h);
  while (h != nullptr) {
    Home* older = h->older;
    if (h->channel->is_mine()) h->channel->retire_input(h->slot, h->generation, h->input);
    while (Passage* p = h->passage) {
      h->passage = p->older;
      delete p;
    }
    delete h;
    h = older;
  }
  while (errors_ != nullptr) {
    ErrorNode* next = errors_->next;
    delete errors_;
    errors_ = next;
  }
  delete cork_;
  cork_ = nullptr;
  delete_parts();
  home_ = nullptr;
  pair_ = control::kNoPair;
  identity_ = {};
  kind_ = 0;
  v6_ = message_ = connecting_ = kernel_mode_ = false;
  local_options_ = 0;
  receive_low_water_ = 1;
  receive_timeout_ns_ = send_timeout_ns_ = 0;
  error_count_ = gone_told_ = 0;
  spin_.reset();
  for (EventQueue*& w : watches_) w = nullptr;
}

// Whether the rings of the home are this process's to use, and its passage if it is in one.
bool Socket::can_use(const Home& h) {
  const uint32_t mode = load_acquire(h.shared->mode);
  if (__builtin_expect(load_relaxed(h.shared->generation) != load_acquire(h.generation), 0)) return false;
  return __builtin_expect(mode == abi::kModeShared, 1) || passage_of(h) != nullptr;
}

int Socket::enter(int k, Side side, Home*& h, RingLock& lock) {
  for (;;) {
    if (__builtin_expect(kernel_mode_, 0)) return kKernelMode;
    if (const int error = home(k, h); error != 0) return error;
    if (lock.acquire(*h, side)) {
      if (can_use(*h)) return 0;
      lock.release();
    }
    if (const int r = settle(h); r != 0) return r;
  }
}

int Socket::enter(int k, Home*& h) {
  for (;;) {
    if (__builtin_expect(kernel_mode_, 0)) return kKernelMode;
    if (const int error = home(k, h); error != 0) return error;
    if (can_use(*h)) return 0;
    if (const int r = settle(h); r != 0) return r;
  }
}

int Socket::settle(Home* seen) {
  abi::SocketShared& s = *seen->shared;
  if (seen->channel->is_dead() || !seen->channel->check_alive()) return -ENETDOWN;
  const uint32_t generation = load_acquire(seen->generation);
  const uint32_t mode = load_acquire(s.generation) == generation ? load_acquire(s.mode) : uint32_t{abi::kModeFree};
  switch (mode) {
    case abi::kModeShared:  // a revocation under way
      ipc::wait_while_revoked(s.tx_lock, &kLookAgain);
      ipc::wait_while_revoked(s.rx_lock, &kLookAgain);
      return 0;
    case abi::kModeKernel:
      kernel_mode_ = true;
      return kKernelMode;
    case abi::kModeMoved: return rehome(seen);
    case abi::kModePassing: {
      if (passage_of(*seen) == nullptr) {
        Guard guard(mutex_);
        if (current_home() != seen) return 0;
        if (const int error = join(*seen); error != 0) return error;
      }
      ipc::wait_while_revoked(s.tx_lock, &kLookAgain);
      ipc::wait_while_revoked(s.rx_lock, &kLookAgain);
      return 0;
    }
    default: break;
  }
  // The server has finished with the slot: with the socket, or because another thread is just moving it to a new home, perhaps back to this one.
  Guard guard(mutex_);
  return current_home() != seen || load_relaxed(seen->generation) != generation ? 0 : -EBADF;
}

int Socket::ask_home(Channel& channel, uint32_t engine, uint32_t slot, uint32_t generation, control::Reply& reply) {
  control::Request request;
  request.op = static_cast<uint32_t>(Op::rehome);
  request.slot = slot;
  request.generation = generation;
  if (const int error = channel.call(engine, request, reply); error != 0) return error;
  return reply.slot < channel.map().layout().max_sockets ? 0 : -EPROTO;
}

int Socket::rehome(Home* seen) {
  Guard guard(mutex_);
  if (current_home() != seen) return 0;  // another thread was faster
  control::Reply reply;
  const int error = ask_home(*seen->channel, seen->engine, seen->slot, seen->generation, reply);
  if (error == -EALREADY) return 0;  // it is being moved right now: look again
  if (error != 0) return error;
  if (reply.slot == seen->slot && reply.generation == seen->generation) return 0;
  Channel* channel = seen->channel;
  leave(*seen);
  adopt(channel, reply.slot, reply.generation);
  return 0;
}

int Socket::control(int k, Op op, control::Request& request, control::Reply& reply, ipc::DescriptorList* received) {
  Home* h = nullptr;
  if (const int error = home(k, h); error != 0) return error;
  request.op = static_cast<uint32_t>(op);
  request.slot = h->slot;
  request.generation = load_relaxed(h->generation);
  return h->channel->call(h->engine, request, reply, nullptr, 0, received);
}

SocketMode Socket::mode(int k) {
  if (kernel_mode_) return abi::kModeKernel;
  Home* h = nullptr;
  if (home(k, h) != 0) return abi::kModeFree;
  const uint32_t mode = load_acquire(h->shared->mode);
  if (mode == abi::kModeKernel) kernel_mode_ = true;
  return static_cast<SocketMode>(mode);
}

int Socket::demote(int k) {
  if (kernel_mode_) return 0;
  control::Request request;
  control::Reply reply;
  for (;;) {
    const int error = control(k, Op::demote, request, reply);
    if (error == 0) kernel_mode_ = true;
    if (error != -EALREADY) return error;
    Home* h = nullptr;  // another move is under way
    if (const int r = enter(k, h); r != 0) return r == kKernelMode ? 0 : r;
  }
}

uint32_t Socket::slot() const {
  const Home* h = current_home();
  return h != nullptr && h->channel->is_mine() ? h->slot : ~0u;
}

}  // namespace ferry::client

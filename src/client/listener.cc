// Listeners. With several engines in the server a listener has a part in each, with a slot of its own: connections are accepted from all of
// them, in turns. The part in the engine where the socket was opened is its home; the others are reached by showing K there.
// shutdown(2) of input ends a listener: the server says kReadClosed and closes the parts. listen(2) makes it one again, with new parts.
#include <fcntl.h>

#include <cerrno>

#include "base/atomics.h"
#include "client/deadline.h"
#include "client/event_queue.h"
#include "client/socket.h"
#include "client/sys.h"
#include "ipc/futex.h"
#include "port/api/log.h"

namespace ferry::client {

namespace abi = ipc::abi;
namespace control = ipc::control;
using control::Op;

// Those beside the home. Made once for a channel; one that was made for the parent's stays in memory, as homes do.
struct ListenerParts {
  uint32_t count = 0;
  Home* homes[abi::kMaxEngines] = {};
  ListenerParts* older = nullptr;
};

namespace {

constexpr int64_t kLookEvery = 10'000'000;  // ns, where the kernel cannot wait for several words until a time

// Whether a descriptor number is free: 0 or -EMFILE.
int probe_number(int k) {
  const long probe = ipc::raw_syscall(SYS_fcntl, k, F_DUPFD_CLOEXEC, 0);
  if (probe < 0) return static_cast<int>(probe);
  ipc::raw_syscall(SYS_close, probe);
  return 0;
}

// Sees to it that one is, before a connection leaves its queue, which it must not without one: the program's needs go before what the
// channel keeps. 0 or -EMFILE.
int find_number(int k, Channel& channel) {
  if (probe_number(k) == 0) return 0;
  return channel.drop_stock() ? probe_number(k) : -EMFILE;
}

bool is_offered(const Home& h) { return load_acquire(h.shared->rx_produced) != load_acquire(h.shared->rx_consumed); }
bool can_be_asked(const Home& h) { return (load_acquire(h.shared->ready) & abi::kAcceptable) != 0; }
bool is_acceptable(const Home& h) { return is_offered(h) || can_be_asked(h); }
bool has_ended(const Home& h) { return (load_acquire(h.shared->ready) & abi::kReadClosed) != 0; }

}  // namespace

int Socket::listen(int k, int backlog) {
  if (!is_stream() && !has_many_peers()) return -EOPNOTSUPP;
  control::Request request;
  control::Reply reply;
  request.value = backlog < 0 ? 0 : static_cast<uint32_t>(backlog);
  const bool again = is_listener() && !is_listening();
  const int error = control(k, Op::listen, request, reply);
  if (error != 0 || has_many_peers()) return error;  // these go on as they are
  kind_ = abi::kKindListener;
  Guard guard(mutex_);
  if (again) leave_parts();
  if (again || load_relaxed(parts_) == nullptr) join_parts(k);
  return 0;
}

bool Socket::is_listening() const {
  const Home* h = current_home();
  return is_listener() && !(h != nullptr && h->channel->is_mine() && has_ended(*h));
}

// Caller holds mutex_, or is alone with the socket. Connections of an engine that cannot give a slot are for other processes.
void Socket::join_parts(int k) {
  Home& main = *current_home();
  Channel& channel = *main.channel;
  if (channel.engines() == 1 || message_) return;
  auto* parts = new ListenerParts;
  for (uint32_t engine = 0; engine < channel.engines(); ++engine) {
    if (engine == main.engine) continue;
    control::Request request;
    control::Reply reply;
    request.op = static_cast<uint32_t>(Op::attach);
    const int error = channel.call(engine, request, reply, &k, 1);
    if (error != 0 || reply.slot >= channel.map().layout().max_sockets) {
      port::log(port::LogLevel::warning, "a listener does without engine %u: error %d", engine, -error);
      continue;
    }
    Home* h = make_home(channel, reply.slot, reply.generation);
    parts->homes[parts->count++] = h;
    channel.set_socket(h->slot, this, h);
    apply_watches(*h);
  }
  parts->older = load_relaxed(parts_);
  store_release(parts_, parts);
}

// But for those that the server has closed: their slots may be other sockets' by now.
template <typename Visit>
void Socket::for_each_part(Visit&& visit) const {
  const ListenerParts* parts = load_acquire(parts_);
  for (uint32_t i = 0; parts != nullptr && i < parts->count; ++i)
    if (Home& h = *parts->homes[i]; h.channel->is_mine() && can_use(h)) visit(h);
}

void Socket::register_parts(EventQueue& queue, uint32_t place) {
  for_each_part([&](Home& h) { queue.register_at(*this, h, place); });
}

void Socket::unregister_parts(uint32_t place) {
  for_each_part([&](Home& h) { store_release(h.shared->watches[place], 0u); });
}

void Socket::leave_parts() {
  const ListenerParts* parts = load_acquire(parts_);
  for (uint32_t i = 0; parts != nullptr && i < parts->count; ++i) leave(*parts->homes[i]);
}

void Socket::delete_parts() {
  while (ListenerParts* parts = parts_) {
    for (uint32_t i = 0; i < parts->count; ++i) delete parts->homes[i];
    parts_ = parts->older;
    delete parts;
  }
}

bool Socket::is_any_acceptable(const Home& main) const {
  bool any = is_acceptable(main);
  for_each_part([&any](Home& h) { any |= is_acceptable(h); });
  return any;
}

// Everything that a listener sleeps for. Its parts may be others when the sleep is over (shutdown, then listen in another thread).
struct Socket::AllSeen {
  uint32_t count = 0;
  const uint32_t* words[abi::kMaxEngines];
  uint32_t* waiters[abi::kMaxEngines];
  uint32_t values[abi::kMaxEngines];

  void add(const Home& h) {
    words[count] = &h.shared->event_seq;
    waiters[count] = &h.shared->waiters;
    values[count++] = load_acquire(h.shared->event_seq);
  }
  bool changed() const {
    for (uint32_t i = 0; i < count; ++i)
      if (load_acquire(*words[i]) != values[i]) return true;
    return false;
  }
};

// As wait_for_event, for any of the parts. Without futex_waitv (Linux before 5.16, or a filter that does not know it) for the first, with a look at
// the others now and then.
int Socket::wait_for_any(Home& main, const AllSeen& seen, Deadline& deadline) {
  if (seen.count == 1) return wait_for_event(main, {seen.values[0], 0, nullptr}, deadline);
  struct Counted {
    const AllSeen& seen;
    explicit Counted(const AllSeen& s) : seen(s) { count(1u); }
    ~Counted() { count(~0u); }
    void count(uint32_t by) {
      for (uint32_t i = 0; i < seen.count; ++i) atomic_add(*seen.waiters[i], by);
    }
  } counted(seen);
  for (Slices slices;;) {
    if (main.channel->is_dead() || !main.channel->check_alive()) return -ENETDOWN;
    if (seen.changed()) return 0;
    long r;
    if (!deadline.limited()) {
      r = futex_wait_any_for(slices.next(), seen.words, seen.values, seen.count);
      const timespec timeout = ipc::to_timespec(Duration::ns(kLookEvery));
      if (r < 0 && r != -EAGAIN && r != -EINTR && r != -ETIMEDOUT) r = sys().futex_wait_slice(seen.words[0], seen.values[0], &timeout);
    } else {
      const int64_t left = deadline.left_ns();
      if (left == 0) return -EAGAIN;
      const timespec timeout = ipc::to_timespec(Duration::ns(left < kLookEvery ? left : kLookEvery));
      r = sys().futex_wait(seen.words[0], seen.values[0], &timeout);
    }
    if (r == -EINTR) return -EINTR;
  }
}

// From one part. The child's K; -EAGAIN: somebody else was faster; -errno.
int Socket::accept_at(Home& h, Socket& child, Stock::Flags flags, Address* remote) {
  Stock::Taken taken;
  const int error = h.channel->stock(h.engine).claim(*h.shared, flags, taken);
  if (error == -EAGAIN && !can_be_asked(h)) return error;
  if (error == -EAGAIN || error == -ENOENT) return ask_for_connection(h, 0, child, flags, remote);
  h.channel->ring(h.engine, h.slot);
  if (error != 0) return error;
  const abi::SocketShared& s = h.channel->map().socket(taken.slot);
  if (remote != nullptr) *remote = address_of(s.remote_address, load_relaxed(s.remote_port));
  adopt_child(h, child, taken);
  return taken.fd;
}

// `which`: of a socket with many peers.
int Socket::ask_for_connection(Home& h, uint32_t which, Socket& child, Stock::Flags flags, Address* remote) {
  control::Request request;
  control::Reply reply;
  ipc::DescriptorList fds;
  request.op = static_cast<uint32_t>(Op::accept);
  request.slot = h.slot;
  request.generation = h.generation;
  request.value = which;
  if (Channel::config().kernel_mode) request.flags |= control::kOpenKernelMode;
  if (const int error = h.channel->call(h.engine, request, reply, nullptr, 0, &fds); error != 0) return error;
  Stock::Taken taken;
  if (const int error = take_handed(*h.channel, h.engine, reply, fds, flags, taken); error != 0) return error;
  if (taken.pair == control::kNoPair && !is_message()) h.channel->stock(h.engine).grow_for_accept();
  if (remote != nullptr) *remote = reply.remote;
  adopt_child(h, child, taken);
  return taken.fd;
}

void Socket::adopt_child(Home& h, Socket& child, const Stock::Taken& taken) {
  child.kind_ = is_message() ? abi::kKindMessage : abi::kKindTcp;
  child.message_ = is_message();
  child.v6_ = v6_;
  child.local_options_ = local_options() & (kOptOobInline | kOptMessageInfo | kOptReceiveInfo);
  child.receive_timeout_ns_ = receive_timeout_ns_;  // Linux children have their listener's
  child.send_timeout_ns_ = send_timeout_ns_;
  child.receive_low_water_ = receive_low_water_;
  child.adopt(h.channel, taken);
}

int Socket::peel_off(int k, uint32_t association, Socket& child, bool child_nonblocking, bool child_close_on_exec) {
  if (!has_many_peers()) return -EINVAL;
  Home* h = nullptr;
  if (const int error = home(k, h); error != 0) return error;
  if (const int error = find_number(k, *h->channel); error != 0) return error;
  return ask_for_connection(*h, association, child, {child_nonblocking, child_close_on_exec}, nullptr);
}

int Socket::accept(int k, Socket& child, bool nonblocking, bool child_nonblocking, bool child_close_on_exec, Address* remote) {
  if (!is_listener()) return is_stream() ? -EINVAL : -EOPNOTSUPP;
  Deadline deadline(receive_timeout_ns_);
  for (bool wanting = false;;) {
    Home* h = nullptr;
    if (const int error = home(k, h); error != 0)
      return error == -ENETDOWN ? receive_without_server(nonblocking, deadline) : error;
    AllSeen seen;
    seen.add(*h);
    if (has_ended(*h)) return -EINVAL;
    Home* acceptable[abi::kMaxEngines];
    uint32_t count = 0;
    const auto look_at = [&](Home& part) {
      if (is_acceptable(part)) acceptable[count++] = &part;
    };
    for_each_part([&](Home& part) { seen.add(part); });
    look_at(*h);
    for_each_part(look_at);
    if (count > 0)
      if (const int error = find_number(k, *h->channel); error != 0) return error;
    const uint32_t turn = count > 1 ? atomic_add(accept_turn_, 1u) : 0;
    for (uint32_t i = 0; i < count; ++i) {
      Home& part = *acceptable[(turn + i) % count];
      const int r = accept_at(part, child, {child_nonblocking, child_close_on_exec}, remote);
      const bool closed = r == -EBADF && &part != h;  // by a shutdown just now
      if (r != -EAGAIN && r != -ENETDOWN && !closed) return r;
    }
    if (const uint32_t error = load_relaxed(h->shared->error); error != 0) {
      if (const int e = take_error_of(*h); e != 0) return -e;
    }
    if (!wanting) {
      atomic_or(h->shared->wants, uint32_t{abi::kWantRead});
      wanting = true;
      continue;
    }
    if (nonblocking) return -EAGAIN;
    wanting = false;
    const int waited = wait_for_any(*h, seen, deadline);
    if (waited != 0 && waited != -ENETDOWN) return waited;
  }
}

}  // namespace ferry::client

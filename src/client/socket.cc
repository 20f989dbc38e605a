// Life, names and connections of a socket: what goes over the control socket. Data is in stream_*.cc and datagram_*.cc.
#include "client/socket.h"

#include <fcntl.h>

#include <cerrno>
#include <cstring>

#include "base/atomics.h"
#include "client/deadline.h"
#include "client/errno.h"
#include "client/iov_cursor.h"
#include "client/ring_lock.h"

namespace ferry::client {

namespace abi = ipc::abi;
namespace control = ipc::control;
using control::Op;

namespace {

// K comes close-on-exec and blocking or not as the server made it; what the program asked for is set here.
void set_flags(int k, bool nonblocking, bool close_on_exec) {
  if (!close_on_exec) ipc::raw_syscall(SYS_fcntl, k, F_SETFD, 0);
  const long flags = ipc::raw_syscall(SYS_fcntl, k, F_GETFL);
  const long wanted = nonblocking ? flags | O_NONBLOCK : flags & ~long{O_NONBLOCK};
  if (flags >= 0 && flags != wanted) ipc::raw_syscall(SYS_fcntl, k, F_SETFL, wanted);
}

}  // namespace

// K of a socket that the server has made: one that is kept here, or one that came with the reply. 0 or -errno.
int Socket::take_handed(Channel& channel, uint32_t engine, const control::Reply& reply, ipc::DescriptorList& fds, Stock::Flags flags,
                        Stock::Taken& out) {
  if (reply.slot >= channel.map().layout().max_sockets) return -EPROTO;
  if (fds.count == 1) {
    out.fd = fds.take(0).release();
    set_flags(out.fd, flags.nonblocking, flags.close_on_exec);
  } else if (const int error = channel.stock(engine).take(reply.value, flags, out); error != 0) {
    return error;
  }
  out.slot = reply.slot;
  out.generation = reply.generation;
  return 0;
}

// A socket that the server opens now. 0 or -errno.
int Socket::open_one(Channel& channel, uint32_t engine, SocketKind kind, bool v6, Stock::Flags flags, Stock::Taken& out) {
  control::Request request;
  control::Reply reply;
  ipc::DescriptorList fds;
  request.op = static_cast<uint32_t>(Op::open_socket);
  request.value = kind;
  if (Channel::config().kernel_mode) request.flags |= control::kOpenKernelMode;
  if (v6) request.flags |= control::kOpenV6;
  if (const int error = channel.call(engine, request, reply, nullptr, 0, &fds); error != 0) return error;
  return take_handed(channel, engine, reply, fds, flags, out);
}

int Socket::open(SocketKind kind, bool v6, bool nonblocking, bool close_on_exec) {
  Channel* channel = nullptr;
  if (const int unopened = Channel::current(channel); unopened != 0) return unopened;
  Stock::Taken taken;
  const Stock::Flags flags{nonblocking, close_on_exec};
  const uint32_t engine = channel->choose_engine(kind);
  int error = Channel::config().kernel_mode ? -EAGAIN : channel->stock(engine).open(kind, flags, taken);
  if (error == -EAGAIN) error = open_one(*channel, engine, kind, v6, flags, taken);
  if (error != 0) return error;
  kind_ = kind;
  message_ = kind == abi::kKindMessage;
  v6_ = v6;
  adopt(channel, taken);
  return taken.fd;
}

int Socket::bind(int k, const Address& local) {
  control::Request request;
  control::Reply reply;
  request.address = local;
  return control(k, Op::bind, request, reply);
}

int Socket::connect(int k, const Address& remote, bool nonblocking) {
  if (is_listener()) return -EISCONN;
  // SCTP: one that has failed, and has been told of by some other call, is over; TCP's connect tells of it once more (ECONNABORTED).
  if (Home* h = nullptr; connecting_ && is_message() && home(k, h) == 0) {
    constexpr uint32_t kUndecided = abi::kConnecting | abi::kConnected;
    connecting_ = (h->ready() & kUndecided) != 0 || load_relaxed(h->shared->error) != 0;
  }
  if (!connecting_ && post_connect(k, remote, nonblocking)) {
    connecting_ = true;
    if (nonblocking) return -EINPROGRESS;
  } else if (!connecting_ || has_many_peers()) {
    control::Request request;
    control::Reply reply;
    request.address = remote;
    const int error = control(k, Op::connect, request, reply);
    if (error != -EINPROGRESS && (error != -EALREADY || nonblocking || has_many_peers())) return error;
    connecting_ = true;
    if (nonblocking) {
      Home* h = nullptr;  // over at once, as on loopback: say so now
      if (home(k, h) == 0 && (h->ready() & abi::kConnected) != 0) return connecting_ = false, 0;
      return -EINPROGRESS;
    }
  }
  return wait_connected(k, nonblocking);
}

// The outcome of a connect under way: told once (connect(2), the second call).
int Socket::wait_connected(int k, bool nonblocking) {
  Deadline deadline(send_timeout_ns_);
  for (;;) {
    Home* h = nullptr;
    if (const int error = home(k, h); error != 0) return error;
    const Seen seen = look(*h);
    const uint32_t ready = h->ready();
    if ((ready & abi::kConnecting) == 0) {
      connecting_ = false;
      if ((ready & abi::kConnected) != 0 && load_relaxed(h->shared->error) == 0) return 0;
      const int error = take_error_of(*h);
      return error != 0 ? -error : -ECONNABORTED;
    }
    if (nonblocking) return -EALREADY;
    const int waited = wait_for_event(*h, seen, deadline);
    if (waited != 0) return waited == -EAGAIN ? -EINPROGRESS : waited;
  }
}

int Socket::disconnect(int k) {
  control::Request request;
  control::Reply reply;
  connecting_ = false;
  const int error = control(k, Op::disconnect, request, reply);
  if (error != 0 || kind_ != abi::kKindTcp) return error;
  forget_input(k);
  Home* h = nullptr;
  RingLock lock;
  if (enter(k, Side::tx, h, lock) == 0) h->write_shut = false;
  return 0;
}

int Socket::shutdown(int k, int how) {
  if (how < SHUT_RD || how > SHUT_RDWR) return -EINVAL;
  if (has_many_peers()) return 0;  // means nothing: associations end by SCTP_EOF, as on Linux
  Home* h = nullptr;
  if (is_listener() && how == SHUT_WR) {  // has no output that could end
    const int error = home(k, h);
    return error != 0 ? error : is_listening() ? 0 : -ENOTCONN;
  }
  if (kind_ == abi::kKindTcp || kind_ == abi::kKindMessage) {
    const int entered = enter(k, h);
    if (entered < 0) return entered;
    if (entered == kKernelMode) return static_cast<int>(ipc::raw_syscall(SYS_shutdown, k, how));
    if ((h->ready() & abi::kConnected) == 0) return -ENOTCONN;
    if (how != SHUT_RD) {
      if (const int error = shutdown_output(k); error != 0) return error;
      if (how == SHUT_WR) return 0;
      how = SHUT_RD;
    }
  }
  control::Request request;
  control::Reply reply;
  request.value = static_cast<uint32_t>(how);
  return control(k, Op::shutdown, request, reply);
}

// The end of output travels in the ring, behind the data. Waits for a place in it, which the server makes whatever the peer does.
int Socket::shutdown_output(int k) {
  Deadline none(0);
  for (;;) {
    Home* h = nullptr;
    RingLock lock;
    const int entered = enter(k, Side::tx, h, lock);
    if (entered < 0) return entered;
    if (entered == kKernelMode) return static_cast<int>(ipc::raw_syscall(SYS_shutdown, k, SHUT_WR));
    abi::SocketShared& s = *h->shared;
    const Seen seen = look(*h);
    if (h->write_shut) return 0;
    if (h->tx.space(s.tx_taken) > 0) {
      h->tx.push(s.tx, s.tx_produced, {h->channel->map().layout().output.offset, 0, 0, abi::kShutdown});
      h->write_shut = true;
      lock.release();
      h->channel->ring(h->engine, h->slot);
      return 0;
    }
    atomic_or(s.wants, uint32_t{abi::kWantWrite});
    if (h->tx.space(s.tx_taken) > 0) continue;
    lock.release();
    const int waited = wait_for_event(*h, seen, none);
    if (waited != 0 && waited != -EINTR) return waited;
  }
}

int Socket::local_address(int k, Address& out) {
  Home* h = nullptr;
  if (const int error = home(k, h); error != 0) return error;
  const abi::SocketShared& s = *h->shared;
  if (h->is_connect_waiting()) {  // any answer comes after it
    control::Request request;
    control::Reply reply;
    request.level = SOL_SOCKET;
    request.name = SO_TYPE;
    if (const int error = control(k, Op::get_option, request, reply); error != 0) return error;
  }
  if (load_relaxed(s.local_port) == 0 && !is_stream() && h->tx.next() != 0) {
    // Sending binds, but the server may not have come to it yet: bind now, which is refused if it has.
    control::Request request;
    control::Reply reply;
    if (control(k, Op::bind, request, reply) == 0) {
      out = reply.local;
      return 0;
    }
  }
  out = address_of(s.local_address, load_relaxed(s.local_port));
  return 0;
}

int Socket::remote_address(int k, Address& out) {
  Home* h = nullptr;
  if (const int error = home(k, h); error != 0) return error;
  const abi::SocketShared& s = *h->shared;
  const uint32_t ready = h->ready();
  if (has_many_peers()) return -ENOTCONN;
  if ((ready & abi::kConnected) == 0 || (ready & abi::kHangUp) != 0) return -ENOTCONN;
  out = address_of(s.remote_address, load_relaxed(s.remote_port));
  return 0;
}

long Socket::send(int k, const SendRequest& request) {
  if (kind_ == abi::kKindTcp) return send_stream(k, request);
  if (kind_ == abi::kKindListener) return -EPIPE;
  if (request.file != nullptr && request.file->offset != FileBytes::kPipe) return 0;
  if (is_message()) return send_message(k, request);
  return send_datagram(k, request);
}

long Socket::receive(int k, ReceiveRequest& request) {
  request.out_flags = 0;
  request.has_source = false;
  if (kind_ == abi::kKindTcp) return receive_stream(k, request);
  if (kind_ == abi::kKindListener) return -ENOTCONN;
  if (is_message()) return receive_message(k, request);
  return receive_datagram(k, request);
}

int Socket::take_error_of(Home& h) {
  if (load_acquire(h.shared->error) == 0) return 0;
  return to_errno(atomic_exchange(h.shared->error, 0u));
}

int Socket::take_error(int k) {
  Home* h = nullptr;
  if (const int error = home(k, h); error != 0) return error == -ENETDOWN ? -error_without_server() : -error;
  const int error = take_error_of(*h);
  // An answer to a connect that was made without blocking is told once, by whichever call asks first.
  if (error != 0 || (h->ready() & abi::kConnecting) == 0) connecting_ = false;
  return error;
}

int Socket::set_owner(int k, int pid_or_group) {
  control::Request request;
  control::Reply reply;
  request.value = static_cast<uint32_t>(pid_or_group);
  return control(k, Op::send_owner, request, reply);
}

}  // namespace ferry::client

// The socket calls among the control requests: socket, bind, listen, connect, accept, shutdown, options. See control.h.
#include <sys/socket.h>

#include <cstring>

#include "server/control.h"
#include "server/control_values.h"
#include "server/engine.h"
#include "server/listener_parts.h"
#include "server/options.h"

namespace ferry::server {
namespace control = ipc::control;
namespace abi = ipc::abi;
using control::Op;

Errc Control::hand_over(Client& client, Socket& socket, bool kernel_mode, Reply& reply, ipc::DescriptorList& fds) {
  UniqueFd k;
  reply.value = control::kNoPair;
  auto kept = kernel_mode ? nullptr : client.channel()->stock().take(socket.is_stream());
  if (kept) {
    reply.value = kept->number();
    socket.set_pair(std::move(kept));
  } else if (k = socket.make_pair(); !k) {
    return Errc::too_many;
  }
  if (kernel_mode) socket.start_in_kernel_mode(k.get());
  reply.slot = socket.attach(*client.channel());
  if (reply.slot == Channel::kNoSlot) return Errc::too_many;
  reply.generation = client.channel()->generation(reply.slot);
  if (k) fds.add(ipc::OwnedFd(k.release()));
  return Errc::ok;
}

Errc Control::open_socket(Client& client, const Request& request, Reply& reply, ipc::DescriptorList& fds) {
  stack::SocketType type;
  switch (request.value) {
    case abi::kKindTcp: type = stack::SocketType::tcp; break;
    case abi::kKindUdp: type = stack::SocketType::udp; break;
    case abi::kKindMessage: type = stack::SocketType::sctp; break;
    case abi::kKindMessages: type = stack::SocketType::sctp_many; break;
    default: return Errc::not_supported;
  }
  if (ctx_.protocols.service(type) == nullptr) return Errc::not_supported;
  if (client.channel()->socket_count() >= ctx_.limits.sockets) return Errc::too_many;
  Socket& socket = sockets_.create(type);
  if (!sockets_.charge(socket, client.credentials().uid)) return socket.abandon(), Errc::too_many;
  Errc error = socket.come_to_use();
  if (error == Errc::ok) {
    error = hand_over(client, socket, (request.flags & control::kOpenKernelMode) != 0, reply, fds);
  }
  if (error != Errc::ok) {
    fds.clear();
    socket.abandon();
  }
  return error;
}

Errc Control::on_socket(Client& client, Socket& socket, const Request& request, Reply& reply, ipc::DescriptorList& fds) {
  if (Errc opened = socket.come_to_use(); opened != Errc::ok) return opened;
  socket.catch_up();
  switch (static_cast<Op>(request.op)) {
    case Op::bind: return bind(client, socket, request, reply);
    case Op::listen: return listen(client, socket, request, reply);
    case Op::connect: return connect(socket, request, reply);
    case Op::disconnect: return disconnect(socket);
    case Op::accept: return accept(client, socket, request, reply, fds);
    case Op::shutdown: return shutdown(socket, request);
    case Op::set_option:
      if (socket.has_parts())
        ctx_.engines->post_to_others(ctx_.engine, [cookie = socket.cookie(), request](Engine& engine) {
          set_part_option(engine.context(), cookie, request);
        });
      return set_option(ctx_.protocols, socket, request).error();
    case Op::get_option:
      socket.tell_passed();
      return get_option(ctx_.protocols, socket, request, reply).error();
    case Op::send_owner:  // who it is, the client has told the kernel by F_SETOWN on K
      socket.set_signals_owner(request.value != 0);
      return Errc::ok;
    default: return Errc::not_supported;
  }
}

void Control::refresh_addresses(Socket& socket, Reply& reply) {
  auto info = ctx_.protocols.info(socket.id());
  if (!info) return;
  socket.set_addresses(info->local, info->remote);
  reply.local = to_address(info->local);
  reply.remote = to_address(info->remote);
}

Errc Control::connect(Socket& socket, const Request& request, Reply& reply) {
  const stack::Endpoint remote = to_endpoint(request.address);
  if (remote == stack::Endpoint{}) return disconnect(socket);
  Errc error = socket.connect(remote);
  if (error == Errc::ok || error == Errc::in_progress) refresh_addresses(socket, reply);
  return error;
}

Errc Control::disconnect(Socket& socket) {
  socket.tear_passage();
  stack::Call call = make_call(stack::CallOp::connect, socket);  // to nobody
  Errc error = ctx_.protocols.call(call).error;
  Reply ignored;
  if (error == Errc::ok) {
    socket.close_parts();
    socket.on_peer(false);
    refresh_addresses(socket, ignored);
  }
  return error;
}

Errc Control::accept(Client& client, Socket& listener, const Request& request, Reply& reply, ipc::DescriptorList& fds) {
  if (!listener.is_listener() && !listener.has_many_peers()) return Errc::invalid;
  if (client.channel()->socket_count() >= ctx_.limits.sockets || !sockets_.has_room(client.credentials().uid)) return Errc::too_many;
  const bool kernel_mode = (request.flags & control::kOpenKernelMode) != 0;
  if (!kernel_mode) listener.offer_to(*client.channel());
  auto next = listener.next_connection(*client.channel(), request.value);
  listener.on_acceptable();
  if (!next) return next.error();
  Socket& child = **next;
  child.on_accepted();
  Errc error = sockets_.charge(child, client.credentials().uid) ? hand_over(client, child, kernel_mode, reply, fds) : Errc::too_many;
  if (error != Errc::ok) {
    fds.clear();
    child.abandon();
    return error;
  }
  ++ctx_.counters.accepted;
  refresh_addresses(child, reply);
  return Errc::ok;
}

Errc Control::shutdown(Socket& socket, const Request& request) {
  if (request.value > SHUT_RDWR) return Errc::invalid;
  stack::Call call = make_call(stack::CallOp::shutdown, socket);
  call.number = request.value + 1;  // SHUT_RD 0, SHUT_WR 1, SHUT_RDWR 2
  Errc error = ctx_.protocols.call(call).error;
  if (error != Errc::ok) return error;
  socket.close_parts();
  socket.on_shutdown(request.value != SHUT_WR, request.value != SHUT_RD);
  return error;
}

}  // namespace ferry::server

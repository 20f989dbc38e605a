// Calls of the host that are the same for every kind of socket: open, bind, options, close; the rest is passed on.
#include "port/api/alloc.h"
#include "stack/engine.h"
#include "stack/option_map.h"

namespace ferry::stack {
namespace {
CallResult failure(Errc e) {
  CallResult r;
  r.error = e;
  return r;
}
}  // namespace

CallResult Engine::on_call(const Call& call) {
  if (call.op == CallOp::open) return open(call);
  Socket* socket = sockets_.find(call.socket);
  if (socket == nullptr) return failure(Errc::bad_socket);
  switch (call.op) {
    case CallOp::bind: return bind(*socket, call);
    case CallOp::set_option: return failure(set_option(*socket, call.option, call.number).error());
    case CallOp::set_owner:
      socket->owner = call.owner;
      return {};
    default: break;
  }
  if (socket->type == SocketType::tcp) {
    TcpSocket& t = *static_cast<TcpSocket*>(socket);
    if (t.parent != nullptr) return failure(Errc::bad_socket);  // not accepted yet
    return tcp_call(t, call);
  }
  return datagram_call(*static_cast<DatagramSocket*>(socket), call);
}

CallResult Engine::open(const Call& call) {
  if (call.owner == 0) return failure(Errc::invalid);
  if (is_full()) return failure(Errc::too_many);
  Socket* socket = nullptr;
  switch (call.type) {
    case SocketType::tcp: socket = make<TcpSocket>(); break;
    case SocketType::udp:
    case SocketType::icmp_echo: socket = make<DatagramSocket>(call.type); break;
    default: return failure(Errc::invalid);
  }
  if (socket == nullptr) return failure(Errc::no_memory);
  ++socket_count_;
  if (call.type == SocketType::udp) socket->protocol = wire::kProtocolUdp;
  if (call.type == SocketType::icmp_echo) socket->protocol = wire::kProtocolIcmp;
  auto id = sockets_.add(*socket);
  if (!id) {
    drop_socket(*socket);
    return failure(id.error());
  }
  socket->id = *id;
  socket->owner = call.owner;
  socket->uid = static_cast<uint32_t>(call.number);
  CallResult result;
  result.socket = *id;
  return result;
}

PortTable& Engine::ports_of(const Socket& socket) {
  switch (socket.type) {
    case SocketType::tcp: return tcp_ports_;
    case SocketType::udp: return udp_ports_;
    case SocketType::icmp_echo: return echo_ports_;
  }
  return udp_ports_;
}

// An address that a socket may be bound to: none in particular, one of ours, or for datagrams a group or broadcast address.
Status Engine::check_local_address(const Socket& socket, const wire::IpAddress& address) const {
  if (address.is_any()) return {};
  if (!address.is_v4()) return Errc::address_not_available;
  const wire::Ipv4Address a = address.v4();
  if (network_.is_local(a)) return {};
  if (socket.type == SocketType::udp) {
    if (a.is_multicast()) return {};
    for (uint32_t i = 0; i < network_.interface_count(); ++i)
      if (net::is_broadcast(*network_.interface(i), a)) return {};
  }
  return Errc::address_not_available;
}

// Where 0.0.0.0 leads as a destination: to ourselves, as on Linux.
wire::IpAddress Engine::reachable(const wire::IpAddress& address) const {
  if (!address.is_any()) return address;
  const auto loopback = wire::Ipv4Address::of(127, 0, 0, 1);
  if (network_.is_local(loopback)) return wire::IpAddress::from(loopback);
  return network_.interface_count() > 0 ? wire::IpAddress::from(network_.interface(0)->prefix.address) : address;
}

CallResult Engine::bind(Socket& socket, const Call& call) {
  if (socket.bound() || socket.flow_kind != FlowKind::none) return failure(Errc::invalid);
  if (auto ok = check_local_address(socket, call.local.address); !ok) return failure(ok.error());
  PortTable& ports = ports_of(socket);
  socket.bound_address = call.local.address;
  uint16_t port = call.local.port;
  Status outcome;
  if (port != 0) {
    outcome = ports.bind(socket, port);
  } else if (auto chosen = ports.bind_ephemeral(socket, random_start()); chosen) {
    port = *chosen;
  } else {
    outcome = chosen.error();
  }
  if (!outcome) {
    socket.bound_address = {};
    return failure(outcome.error());
  }
  if (socket.type != SocketType::tcp) ports.add_receiver(socket);
  socket.local = {call.local.address, port};
  CallResult result;
  result.local = socket.local;
  return result;
}

Status Engine::set_option(Socket& socket, Option option, int64_t value) {
  TcpSocket* t = socket.type == SocketType::tcp ? static_cast<TcpSocket*>(&socket) : nullptr;
  switch (option) {
    case Option::reuse_address: ports_of(socket).set_reuse_address(socket, value != 0); return {};
    case Option::reuse_port: ports_of(socket).set_reuse_port(socket, value != 0); return {};
    case Option::broadcast: socket.broadcast = value != 0; return {};
    case Option::dont_fragment: socket.dont_fragment = value != 0; return {};
    case Option::receive_errors: socket.receive_errors = value != 0; return {};
    case Option::oob_inline: socket.oob_inline = value != 0; return {};
    case Option::tos:
      if (value < 0 || value > 255) return Errc::invalid;
      socket.tos = static_cast<uint8_t>(value);
      return {};
    case Option::ttl:
      if (value < 1 || value > 255) return Errc::invalid;
      socket.ttl = static_cast<uint8_t>(value);
      return {};
    case Option::linger:
      if (value < -1 || value > INT32_MAX) return Errc::invalid;
      if (t == nullptr) return {};
      t->linger_s = static_cast<int32_t>(value);
      return {};
    case Option::defer_accept:
      if (t == nullptr) return Errc::no_protocol_option;
      if (value < 0 || value > INT32_MAX) return Errc::invalid;
      t->defer_accept_s = static_cast<uint32_t>(value);
      return {};
    default: break;
  }
  if (t == nullptr) {
    if (value < 0 || value > UINT32_MAX) return Errc::invalid;
    if (option == Option::receive_buffer) socket.receive_buffer = static_cast<uint32_t>(value);
    else if (option == Option::send_buffer) socket.send_buffer = static_cast<uint32_t>(value);
    else return Errc::no_protocol_option;
    return {};
  }
  tcp::Option tcp_option;
  if (!to_tcp_option(option, tcp_option)) return Errc::no_protocol_option;
  if (t->connection != nullptr) return t->connection->set_option(now_, tcp_option, value);
  return tcp::store_option(t->options, tcp_option, value);
}

Result<int64_t> Engine::option(SocketId id, Option option) const {
  const Socket* socket = sockets_.find(id);
  if (socket == nullptr) return Errc::bad_socket;
  const TcpSocket* t = socket->type == SocketType::tcp ? static_cast<const TcpSocket*>(socket) : nullptr;
  switch (option) {
    case Option::reuse_address: return int64_t{socket->reuse_address};
    case Option::reuse_port: return int64_t{socket->reuse_port};
    case Option::broadcast: return int64_t{socket->broadcast};
    case Option::dont_fragment: return int64_t{socket->dont_fragment};
    case Option::receive_errors: return int64_t{socket->receive_errors};
    case Option::oob_inline: return int64_t{socket->oob_inline};
    case Option::tos: return int64_t{socket->tos};
    case Option::ttl: return int64_t{socket->ttl};
    case Option::linger: return t == nullptr ? int64_t{-1} : int64_t{t->linger_s};
    case Option::defer_accept:
      if (t == nullptr) return Errc::no_protocol_option;
      return int64_t{t->defer_accept_s};
    default: break;
  }
  if (t == nullptr) {
    if (option == Option::receive_buffer) return int64_t{socket->receive_buffer};
    if (option == Option::send_buffer) return int64_t{socket->send_buffer};
    return Errc::no_protocol_option;
  }
  if (t->connection != nullptr) {  // as they are now, autotuned
    if (option == Option::receive_buffer) return int64_t{t->connection->receive_buffer()};
    if (option == Option::send_buffer) return int64_t{t->connection->send_buffer()};
    if (option == Option::max_segment) return int64_t{t->connection->mss()};
    return read_tcp_option(t->connection->options(), option);
  }
  return read_tcp_option(t->options, option);
}

}  // namespace ferry::stack

// Connections of this stack with each other, whose owners pass bytes between them without us (docs/architecture.md, "Same host"). The
// stack says who belongs together and when nothing is under way, and is told afterwards how much was passed.
#include "stack/tcp_server.h"

namespace ferry::stack {

// The other end of a connection, if that is here as well, and accepted. A connection with itself has none.
const TcpSocket* TcpServer::twin_of(const TcpSocket& socket) const {
  if (socket.connection == nullptr || socket.parent != nullptr) return nullptr;
  const Flow* flow = flows_.look_up(wire::kProtocolTcp, socket.remote, socket.local);
  if (flow == nullptr || flow->flow_kind != FlowKind::connection) return nullptr;
  const auto* twin = static_cast<const TcpSocket*>(flow);
  const bool usable = twin != &socket && twin->connection != nullptr && twin->parent == nullptr && !twin->id_dead;
  return usable ? twin : nullptr;
}

Result<Owner> TcpServer::twin(const Socket& socket) const {
  const TcpSocket* other = twin_of(static_cast<const TcpSocket&>(socket));
  if (other == nullptr) return Errc::not_supported;
  return other->owner;
}

Status TcpServer::settle(TcpSocket& socket) {
  TcpSocket* other = const_cast<TcpSocket*>(twin_of(socket));
  if (other == nullptr) return Errc::not_supported;
  tcp::Connection& a = *socket.connection;
  tcp::Connection& b = *other->connection;
  const bool settled = a.is_settled() && b.is_settled() && a.snd_nxt() == b.rcv_nxt() && b.snd_nxt() == a.rcv_nxt();
  a.acknowledge(now());
  b.acknowledge(now());
  return settled ? Status() : Status(Errc::again);
}

Status TcpServer::pass(TcpSocket& socket, const Call& call) {
  if (call.number < 0 || call.flags > call.number) return Errc::invalid;
  TcpSocket* other = const_cast<TcpSocket*>(twin_of(socket));
  if (other == nullptr) return Errc::not_supported;
  tcp::Connection& from = *socket.connection;
  tcp::Connection& to = *other->connection;
  if (from.outstanding() > 0 || from.snd_nxt() != to.rcv_nxt()) return Errc::again;
  const auto bytes = static_cast<uint64_t>(call.number);
  from.passed_out(now(), bytes, to.passed_in(now(), bytes, call.flags));
  return {};
}

}  // namespace ferry::stack

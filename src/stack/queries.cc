// What the stack tells about itself.
#include "stack/engine.h"

namespace ferry::stack {
namespace {

// Engine's lists are walked without changing anything; List has no const iteration.
template <typename T, typename Tag, typename Visit>
void walk(const List<T, Tag>& list, Visit&& visit) {
  auto& l = const_cast<List<T, Tag>&>(list);
  for (T* e = l.front(); e != nullptr; e = l.next(*e)) visit(*e);
}

}  // namespace

void Engine::fill_info(const Socket& socket, Instant now, SocketInfo& info) const {
  info.socket = socket.id;
  info.owner = socket.id_dead ? 0 : socket.owner;
  info.type = static_cast<uint8_t>(socket.type);
  info.local = socket.local;
  info.remote = socket.remote;
  info.tcp_state = static_cast<uint8_t>(tcp::State::closed);
  if (socket.type != SocketType::tcp) return;
  const TcpSocket& t = static_cast<const TcpSocket&>(socket);
  info.error = t.error;
  if (t.queues != nullptr) {
    info.tcp_state = static_cast<uint8_t>(tcp::State::listen);
    info.receive_queue = t.queues->waiting_count;
    info.send_queue = t.queues->backlog;
  }
  if (t.connection == nullptr) return;
  const tcp::Connection& c = *t.connection;
  info.tcp_state = static_cast<uint8_t>(c.state());
  info.receive_queue = c.unread();
  info.send_queue = c.outstanding();
  info.send_buffer = c.send_buffer();
  info.receive_buffer = c.receive_buffer();
  info.mss = c.mss();
  info.urgent_mark = c.urgent_mark();
  info.urgent_byte = c.urgent_byte();
  const tcp::TcpInfo tcp = c.info(now);
  info.retransmits = tcp.retransmits;
  const Instant deadline = c.next_deadline();
  if (deadline.is_never()) return;
  info.timer = tcp.unacked > 0                           ? TimerKind::retransmit
               : c.outstanding() > 0                     ? TimerKind::persist
               : c.options().keep_alive                  ? TimerKind::keep_alive
                                                         : TimerKind::other;
  info.timer_remaining = deadline > now ? deadline - now : Duration::zero();
}

Result<SocketInfo> Engine::socket_info(SocketId id, Instant now) const {
  const Socket* socket = sockets_.find(id);
  if (socket == nullptr) return Errc::bad_socket;
  SocketInfo info;
  fill_info(*socket, now, info);
  return info;
}

void Engine::for_each_socket(SocketVisitor& visitor, Instant now) const {
  for (uint32_t i = 0; i < sockets_.slot_count(); ++i) {
    const Socket* socket = sockets_.at(i);
    if (socket == nullptr) continue;
    SocketInfo info;
    fill_info(*socket, now, info);
    visitor.on_socket(info);
  }
  walk(orphans_, [&](const TcpSocket& s) {
    SocketInfo info;
    fill_info(s, now, info);
    visitor.on_socket(info);
  });
  walk(time_waits_, [&](const TimeWaitEntry& entry) {
    SocketInfo info;
    info.local = entry.local;
    info.remote = entry.remote;
    info.tcp_state = static_cast<uint8_t>(tcp::State::time_wait);
    info.timer = TimerKind::time_wait;
    info.timer_remaining = entry.state.expires > now ? entry.state.expires - now : Duration::zero();
    visitor.on_socket(info);
  });
}

void Engine::for_each_counter(CounterVisitor& visitor) const {
  uint64_t listeners = 0, connections = 0, datagram_sockets = 0;
  uint64_t retransmits = 0;  // of the connections that still live
  const auto add = [&](const Socket& socket) {
    if (socket.type != SocketType::tcp) return void(++datagram_sockets);
    const TcpSocket& t = static_cast<const TcpSocket&>(socket);
    if (t.queues != nullptr) ++listeners;
    if (t.connection == nullptr) return;
    ++connections;
    retransmits += t.connection->info(now_).total_retrans;
  };
  for (uint32_t i = 0; i < sockets_.slot_count(); ++i)
    if (sockets_.at(i) != nullptr) add(*sockets_.at(i));
  walk(orphans_, add);
  visitor.on_counter("sockets", socket_count_);
  visitor.on_counter("tcp_listeners", listeners);
  visitor.on_counter("tcp_connections", connections);
  visitor.on_counter("tcp_orphans", orphan_count_);
  visitor.on_counter("tcp_time_waits", time_wait_count_);
  visitor.on_counter("datagram_sockets", datagram_sockets);
  visitor.on_counter("loopback_bytes_queued", loopback_.used());
  counters_.for_each([&](const char* name, const uint64_t& value) {
    visitor.on_counter(name, &value == &counters_.tcp_retransmits ? value + retransmits : value);
  });
}

void Engine::for_each_neighbor(NeighborVisitor& visitor) const {
  network_.for_each_neighbor([&](LinkIndex link, const net::Neighbor& n) {
    NeighborInfo info;
    info.link = link;
    info.address = n.address;
    info.mac = n.mac;
    info.resolved = n.has_mac();
    visitor.on_neighbor(info);
  });
}

const InterfaceConfig* Engine::interface(LinkIndex link) const {
  return link < network_.interface_count() ? &interfaces_[link] : nullptr;
}

Result<tcp::TcpInfo> Engine::tcp_info(SocketId id, Instant now) const {
  const Socket* socket = sockets_.find(id);
  if (socket == nullptr) return Errc::bad_socket;
  if (socket->type != SocketType::tcp) return Errc::not_supported;
  const TcpSocket& t = static_cast<const TcpSocket&>(*socket);
  if (t.connection != nullptr) return t.connection->info(now);
  tcp::TcpInfo info;
  if (t.queues != nullptr) {  // as Linux: the accept queue stands in two fields
    info.state = tcp::State::listen;
    info.unacked = t.queues->waiting_count;
    info.sacked = t.queues->backlog;
  }
  return info;
}

uint32_t Engine::send_space(SocketId id) const {
  const Socket* socket = sockets_.find(id);
  if (socket == nullptr || socket->type != SocketType::tcp) return 0;
  const TcpSocket& t = static_cast<const TcpSocket&>(*socket);
  return t.connection == nullptr ? 0 : t.connection->send_space();
}

}  // namespace ferry::stack

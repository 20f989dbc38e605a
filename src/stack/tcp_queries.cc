// What TCP tells about its sockets, and whose the payload of a segment is.
#include "stack/option_map.h"
#include "stack/tcp_server.h"
#include "wire/tcp.h"

namespace ferry::stack {
namespace {

// The lists are walked without changing anything; List has no const iteration.
template <typename T, typename Tag, typename Visit>
void walk(const List<T, Tag>& list, Visit&& visit) {
  auto& l = const_cast<List<T, Tag>&>(list);
  for (T* e = l.front(); e != nullptr; e = l.next(*e)) visit(*e);
}

}  // namespace

void TcpServer::describe(const Socket& socket, Instant now, SocketInfo& info) const {
  const TcpSocket& t = static_cast<const TcpSocket&>(socket);
  describe_common(t, info);
  info.tcp_state = static_cast<uint8_t>(tcp::State::closed);
  info.error = t.error;
  if (t.queues != nullptr) {
    info.tcp_state = static_cast<uint8_t>(tcp::State::listen);
    info.receive_queue = t.queues->waiting_count + t.queues->held;
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

void TcpServer::for_each_unnumbered(SocketVisitor& visitor, Instant now) const {
  walk(orphans_, [&](const TcpSocket& s) {
    SocketInfo info;
    info.type = static_cast<uint8_t>(s.type);
    describe(s, now, info);
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

void TcpServer::for_each_counter(CounterVisitor& visitor) const {
  uint64_t listeners = 0, connections = 0;
  uint64_t retransmits = counters().tcp_retransmits;  // of the connections that have ended; those that live are added
  const auto add = [&](const TcpSocket& t) {
    if (t.queues != nullptr) ++listeners;
    if (t.connection == nullptr) return;
    ++connections;
    retransmits += t.connection->info(now()).total_retrans;
  };
  for (uint32_t i = 0; i < services().slot_count(); ++i) {
    if (const TcpSocket* s = at(i)) add(*s);
  }
  walk(orphans_, add);
  visitor.on_counter("tcp_listeners", listeners);
  visitor.on_counter("tcp_connections", connections);
  visitor.on_counter("tcp_orphans", orphan_count_);
  visitor.on_counter("tcp_time_waits", time_wait_count_);
  visitor.on_counter("tcp_retransmits", retransmits);
}

Result<int64_t> TcpServer::option(const Socket& socket, Option option) const {
  const TcpSocket& t = static_cast<const TcpSocket&>(socket);
  int64_t value = 0;
  if (common_option(t, option, value)) return value;
  if (option == Option::linger) return int64_t{t.linger_s};
  if (option == Option::defer_accept) return int64_t{t.defer_accept_s};
  if (t.connection == nullptr) return read_tcp_option(t.options, option);
  // As they are now, autotuned.
  if (option == Option::receive_buffer) return int64_t{t.connection->receive_buffer()};
  if (option == Option::send_buffer) return int64_t{t.connection->send_buffer()};
  if (option == Option::max_segment) return int64_t{t.connection->mss()};
  return read_tcp_option(t.connection->options(), option);
}

uint32_t TcpServer::send_space(const Socket& socket) const {
  const tcp::Connection* c = static_cast<const TcpSocket&>(socket).connection;
  return c == nullptr ? 0 : c->send_space();
}

Result<tcp::TcpInfo> TcpServer::tcp_info(const Socket& socket, Instant now) const {
  const TcpSocket& t = static_cast<const TcpSocket&>(socket);
  if (t.connection != nullptr) return t.connection->info(now);
  tcp::TcpInfo info;
  if (t.queues != nullptr) {  // as Linux: the accept queue stands in two fields
    info.state = tcp::State::listen;
    info.unacked = t.queues->waiting_count + t.queues->held;
    info.sacked = t.queues->backlog;
  }
  return info;
}

Result<PayloadOwner> TcpServer::payload_owner(const wire::Ipv4View& ip) const {
  auto tcp = wire::TcpView::parse(ip.payload());
  if (!tcp) return Errc::not_supported;
  const Endpoint local{wire::IpAddress::from(ip.destination()), tcp->destination_port()};
  const Endpoint remote{wire::IpAddress::from(ip.source()), tcp->source_port()};
  const Flow* flow = flows_.look_up(wire::kProtocolTcp, local, remote);
  if (flow == nullptr || flow->flow_kind != FlowKind::connection) return Errc::bad_socket;
  const auto& socket = *static_cast<const TcpSocket*>(flow);
  if (socket.owner == 0 || socket.id_dead) return Errc::bad_socket;
  const bool is_next = socket.connection != nullptr && tcp->sequence() == socket.connection->rcv_nxt();
  return PayloadOwner{socket.owner, static_cast<uint32_t>(tcp->header_length()), is_next};
}

}  // namespace ferry::stack

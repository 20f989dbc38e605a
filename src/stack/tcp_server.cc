// Birth and death of TCP's sockets, timers, ICMP errors; see tcp_server.h.
#include "stack/tcp_server.h"

#include <algorithm>

#include "port/api/alloc.h"

namespace ferry::stack {
namespace {
constexpr Service kOffers[] = {{SocketType::tcp, Style::stream, wire::kProtocolTcp, "tcp"}};
constexpr uint16_t kOldRouterMtu = 576;  // what to assume when "fragmentation needed" named none (RFC 1191 section 5)
}  // namespace

TcpServer::TcpServer(const Config& config, Rng& rng)
    : PortServer(config.ephemeral_first, config.ephemeral_last, draw_key(rng)),
      isn_key_(draw_key(rng)),
      timestamp_key_(draw_key(rng)),
      port_key_(draw_key(rng)) {}

TcpServer::~TcpServer() {
  while (TcpSocket* s = orphans_.front()) drop_socket(*s);
  while (TimeWaitEntry* entry = time_waits_.front()) forget_time_wait(*entry);
}

std::span<const Service> TcpServer::offers() const { return kOffers; }

Result<Socket*> TcpServer::make_socket(const Call& call) {
  TcpSocket* socket = make<TcpSocket>();
  if (socket == nullptr) return Errc::no_memory;
  socket->uid = static_cast<uint32_t>(call.number);
  return socket;
}

void TcpServer::destroy(Socket& socket, bool last) {
  TcpSocket& t = static_cast<TcpSocket&>(socket);
  t.muted = true;
  if (!last && t.connection != nullptr) t.connection->abort(now());  // a child that the host refused
  drop_socket(t);
}

// Frees the socket and everything that refers to it.
void TcpServer::drop_socket(TcpSocket& socket) {
  services().forget(socket);
  flows_.erase(socket);
  ports_.release(socket);
  unqueue(socket);
  timers_.remove(socket);
  if (socket.connection != nullptr) {
    ferry::destroy(socket.connection);
    --connection_count_;
  }
  if (socket.queues != nullptr) {  // only when the whole stack goes: else the queues were emptied before
    for (List<TcpSocket, QueueTag>* queue : {&socket.queues->half_open, &socket.queues->waiting}) {
      while (TcpSocket* child = queue->pop_front()) {
        child->parent = nullptr;
        child->place = Place::none;
      }
    }
    ferry::destroy(socket.queues);
  }
  ferry::destroy(&socket);
}

Status TcpServer::reserve_connection() { return timers_.reserve(connection_count_ + 1); }

Instant TcpServer::next_deadline() const {
  const Instant at = timers_.next_deadline();
  return time_waits_.empty() ? at : earlier(at, time_waits_.front()->state.expires);
}

void TcpServer::on_timer() {
  expire_time_waits();
  for (uint32_t budget = timers_.size(); budget > 0; --budget) {
    TimerNode* node = timers_.first();
    if (node == nullptr || node->at > now()) break;
    timers_.remove(*node);
    TcpSocket& socket = *static_cast<TcpSocket*>(node);
    const uint32_t before = socket.connection->consecutive_timeouts();
    socket.connection->on_timer(now());
    if (socket.connection == nullptr) continue;
    // One timeout is a loss; more may be a next hop that is not where we think.
    if (socket.connection->consecutive_timeouts() > std::max(before, 1u)) services().network().doubt(now(), socket.path);
    timers_.set(socket, socket.connection->next_deadline());
  }
}

bool TcpServer::on_datagram(const net::Datagram& datagram) {
  on_segment(datagram);
  return true;
}

// ICMP errors to the connection whose segment they quote (RFC 1122 section 4.2.3.9, RFC 5927).
void TcpServer::on_icmp_error(const net::IcmpError& e) {
  Flow* flow = flows_.find(wire::kProtocolTcp, e.local, e.remote);
  if (flow == nullptr || flow->flow_kind != FlowKind::connection) return counters().drop(Drop::icmp_quote);
  tcp::Connection& c = *static_cast<TcpSocket*>(flow)->connection;
  if (e.type == wire::kIcmpUnreachable && e.code == wire::kFragmentationNeeded) {
    const uint16_t mtu = e.mtu == 0 ? kOldRouterMtu : e.mtu;
    if (mtu > wire::kIpv4HeaderBytes + 20) c.on_path_mss(now(), static_cast<uint16_t>(mtu - wire::kIpv4HeaderBytes - 20), e.sequence);
    return;
  }
  c.on_icmp_error(now(), e.hard ? tcp::IcmpKind::hard : tcp::IcmpKind::soft, e.error, e.sequence);
}

}  // namespace ferry::stack

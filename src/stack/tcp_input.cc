// Segments on their way in: the connection, TIME_WAIT or listener that they are for (RFC 9293 section 3.10.7).
#include "stack/tcp_server.h"
#include "tcp/isn.h"
#include "tcp/reset.h"
#include "wire/checksum.h"
#include "wire/tcp.h"

namespace ferry::stack {
namespace {

// Half-open connections that every listener may have, however small its backlog: they become few at once when the peers answer.
constexpr uint32_t kHalfOpen = 128;
// A half-open connection younger than this is not given up for another one.
constexpr Duration kTimeToAnswer = Duration::ms(500);

}  // namespace

void TcpServer::on_segment(const net::Datagram& datagram) {
  ++counters().tcp_segments_in;
  if (datagram.broadcast) return counters().drop(Drop::tcp_broadcast);  // RFC 1122 section 4.2.3.10
  const ByteSpan bytes = datagram.payload();
  auto view = wire::TcpView::parse(bytes);
  if (!view) return counters().drop(Drop::tcp_malformed);
  const wire::Ipv4Address source = datagram.ip.source(), destination = datagram.ip.destination();
  if (!datagram.detached.empty()) {
    // It was trusted, and its header seen whole, when its owner was looked for.
    if (!datagram.checksum_trusted() || !view->payload().empty()) return counters().drop(Drop::tcp_malformed);
  } else if (!datagram.checksum_trusted()) {
    counters().payload_bytes_summed += bytes.size();
    const auto length = static_cast<uint32_t>(bytes.size());
    if (!wire::checksum_ok(wire::pseudo_header(source, destination, wire::kProtocolTcp, length), bytes))
      return counters().drop(Drop::tcp_checksum);
  }
  tcp::InputSegment s;
  s.seq = view->sequence();
  s.ack = view->acknowledgment();
  s.flags = view->flags();
  s.window = view->window();
  s.urgent_pointer = view->urgent_pointer();
  s.payload = datagram.detached.empty() ? view->payload() : datagram.detached;
  s.gso_size = datagram.offload.gso_size;
  s.ecn = datagram.ip.ecn();
  if (const ByteSpan option_bytes = view->option_bytes(); !option_bytes.empty()) {
    auto options = wire::TcpOptions::parse(option_bytes);
    if (!options) return counters().drop(Drop::tcp_malformed);
    s.options = *options;
  }
  const Endpoint local{wire::IpAddress::from(destination), view->destination_port()};
  const Endpoint remote{wire::IpAddress::from(source), view->source_port()};
  if (Flow* flow = flows_.find(wire::kProtocolTcp, local, remote)) {
    if (flow->flow_kind == FlowKind::connection) return static_cast<TcpSocket*>(flow)->connection->on_segment(now(), s);
    return on_time_wait(*static_cast<TimeWaitEntry*>(flow), datagram, s);
  }
  if (!is_in_our_share(local, remote)) return counters().drop(Drop::tcp_other_share);
  TcpSocket* listener = find_listener(local, remote);
  if (listener == nullptr) return answer_reset(datagram, s, local, remote);
  on_listener(*listener, datagram, s, local, remote, {}, false);
}

void TcpServer::on_time_wait(TimeWaitEntry& entry, const net::Datagram& datagram, const tcp::InputSegment& segment) {
  tcp::OutputSegment answer;
  const Instant expires = entry.state.expires;
  switch (entry.state.on_segment(now(), segment, answer)) {
    case tcp::TimeWait::Verdict::drop: break;
    case tcp::TimeWait::Verdict::answer: send_segment(entry.path, entry.local, entry.remote, 0, 64, answer); break;
    case tcp::TimeWait::Verdict::closed: return forget_time_wait(entry);
    case tcp::TimeWait::Verdict::reopen: {
      const Endpoint local = entry.local, remote = entry.remote;
      TcpSocket* listener = find_listener(local, remote);
      if (listener == nullptr) return answer_reset(datagram, segment, local, remote);
      const tcp::SeqNum least_iss = entry.state.next_iss();
      forget_time_wait(entry);
      return on_listener(*listener, datagram, segment, local, remote, least_iss, true);
    }
  }
  if (entry.state.expires != expires) {  // the wait began anew: the list is in the order of expiry
    time_waits_.erase(entry);
    time_waits_.push_back(entry);
  }
}

// Whether this stack, rather than another one behind our address, serves the flow. Flows with ourselves never leave a stack.
bool TcpServer::is_in_our_share(const Endpoint& local, const Endpoint& remote) {
  const wire::Share& share = services().config().share;
  if (share.count == 1 || network().is_local(remote.address.v4())) return true;
  return wire::share_of_flow(local.address.v4(), local.port, remote.address.v4(), remote.port, share.count) == share.index;
}

// The listener with the most specific address; those that share a port by SO_REUSEPORT take turns by the flow's hash.
TcpSocket* TcpServer::find_listener(const Endpoint& local, const Endpoint& remote) const {
  PortBucket* bucket = ports_.find(local.port);
  if (bucket == nullptr) return nullptr;
  TcpSocket* best = nullptr;
  bool best_exact = false;
  uint32_t group = 0;
  for (Binding* b = bucket->receivers.front(); b != nullptr; b = bucket->receivers.next(*b)) {
    const bool exact = b->bound_address == local.address;
    if (!exact && !b->bound_address.is_any()) continue;
    if (best != nullptr && exact == best_exact) {
      ++group;
      continue;
    }
    if (best == nullptr || exact) best = static_cast<TcpSocket*>(b), best_exact = exact, group = 1;
  }
  if (group < 2) return best;
  uint32_t turn = flows_.hash(wire::kProtocolTcp, local, remote) % group;
  for (Binding* b = bucket->receivers.front(); b != nullptr; b = bucket->receivers.next(*b)) {
    const bool exact = b->bound_address == local.address;
    if (exact == best_exact && (exact || b->bound_address.is_any()) && turn-- == 0) return static_cast<TcpSocket*>(b);
  }
  return best;
}

void TcpServer::answer_reset(const net::Datagram& datagram, const tcp::InputSegment& segment, const Endpoint& local,
                          const Endpoint& remote) {
  counters().drop(Drop::tcp_no_socket);
  tcp::OutputSegment reset;
  if (!tcp::make_reset(segment, reset)) return;
  auto path = network().find_path(datagram.ip.source(), datagram.ip.destination());
  if (path) send_segment(*path, local, remote, 0, 64, reset);
}

// Whether the listener may have one more child. When too many are half open the oldest gives way, if it has had time to answer: so
// forged SYNs do not shut out the honest, and a burst of honest ones beyond the bound is told nothing and comes again.
bool TcpServer::make_room_for_child(TcpSocket& listener) {
  Listening& l = *listener.queues;
  if (uint64_t{l.waiting_count} + l.held > l.backlog) return false;
  if (l.half_open_count < (l.backlog > kHalfOpen ? l.backlog : kHalfOpen)) return true;
  TcpSocket& oldest = *l.half_open.front();
  if (now() - oldest.began < kTimeToAnswer) return false;
  counters().drop(Drop::tcp_backlog_full);
  reset_child(oldest);
  return true;
}

void TcpServer::on_listener(TcpSocket& listener, const net::Datagram& datagram, const tcp::InputSegment& segment,
                         const Endpoint& local, const Endpoint& remote, tcp::SeqNum least_iss, bool has_least_iss) {
  if ((segment.flags & tcp::kRst) != 0) return counters().drop(Drop::tcp_no_socket);
  if ((segment.flags & tcp::kAck) != 0) return answer_reset(datagram, segment, local, remote);
  if ((segment.flags & (tcp::kSyn | tcp::kFin)) != tcp::kSyn) return counters().drop(Drop::tcp_no_socket);
  auto path = network().find_path(datagram.ip.source(), datagram.ip.destination());
  if (!path || path->broadcast || path->multicast) return counters().drop(Drop::ip_no_route);
  if (!make_room_for_child(listener)) return counters().drop(Drop::tcp_backlog_full);
  if (services().is_full() || !reserve_connection()) return counters().drop(Drop::tcp_no_memory);

  TcpSocket* child = make<TcpSocket>();
  if (child == nullptr) return counters().drop(Drop::tcp_no_memory);
  child->local = local;
  child->remote = remote;
  child->flow_kind = FlowKind::connection;
  child->path = *path;
  child->path_generation = services().path_generation();
  child->options = listener.options;
  child->tos = listener.tos;
  child->ttl = listener.ttl;
  child->linger_s = listener.linger_s;
  child->oob_inline = listener.oob_inline;
  child->bound_address = local.address;
  child->uid = listener.uid;
  child->reuse_address = listener.reuse_address;
  child->reuse_port = listener.reuse_port;
  tcp::Setup setup = setup_for(*child);
  if (has_least_iss && setup.iss < least_iss) setup.iss = least_iss;
  child->server = this;
  if (!services().add(*child) || !ports_.join(*child, local.port) || !flows_.insert(*child) ||
      (child->connection = make<tcp::Connection>(*this, setup)) == nullptr) {
    drop_socket(*child);
    return counters().drop(Drop::tcp_no_memory);
  }
  ++connection_count_;
  child->parent = &listener;
  child->place = Place::half_open;
  child->began = now();
  listener.queues->half_open.push_back(*child);
  ++listener.queues->half_open_count;
  child->connection->open_passive(now(), segment);
}

}  // namespace ferry::stack

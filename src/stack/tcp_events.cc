// What connections tell: payload to and from the host's memory, events, and the ends of connections.
#include "port/api/alloc.h"
#include "stack/tcp_server.h"

namespace ferry::stack {
Result<buf::IoDesc> TcpServer::place(tcp::Connection& c, ByteSpan payload) {
  TcpSocket& socket = socket_of(c);
  if (socket.refused || (socket.parent != nullptr && !name_owner(socket))) return Errc::no_buffers;
  return host().place(socket.owner, payload);
}

void TcpServer::discard(tcp::Connection& c, const buf::IoDesc& d) { host().discard(socket_of(c).owner, d); }
void TcpServer::deliver(tcp::Connection& c, const buf::IoDesc& d) { host().deliver(socket_of(c).owner, d); }
void TcpServer::on_completed(tcp::Connection& c, uint32_t bytes) { host().on_completed(socket_of(c).owner, bytes); }
void TcpServer::on_deadline_changed(tcp::Connection& c) { timers_.set(socket_of(c), c.next_deadline()); }

void TcpServer::on_events(tcp::Connection& c, uint32_t events) {
  TcpSocket& socket = socket_of(c);
  const bool closed = (events & bit(Event::closed)) != 0;
  const bool failed = (events & bit(Event::failed)) != 0;
  if (failed) {
    socket.failed = true;
    socket.error = c.error();
    ++counters().tcp_connections_failed;
  }
  if ((events & bit(Event::established)) != 0) {
    socket.established = true;
    if (socket.parent == nullptr) ++counters().tcp_connections_opened;
  }
  if (socket.muted) {
    if (closed) on_connection_closed(socket, c);
    return;
  }
  if (socket.place == Place::half_open) {
    if (closed || failed) {
      unqueue(socket);
      services().tell_closed(socket, bit(Event::failed) | bit(Event::closed));
      socket.muted = true;
      if (closed) on_connection_closed(socket, c);
      return services().doom(socket);
    }
    const uint32_t wanted = socket.parent->defer_accept_s == 0
                                ? bit(Event::established)
                                : bit(Event::readable) | bit(Event::peer_closed);
    if ((events & wanted) == 0) return;
    promote(socket);
    if (socket.refused) return;
  }
  // What ends while it waits is accepted all the same, as on Linux; the host hears that it is closed when it or its listener is.
  if (socket.place == Place::waiting) events &= ~bit(Event::closed);
  else if (closed) socket.told_closed = true;
  if (socket.owner != 0) host().on_events(socket.owner, events);
  if (closed) on_connection_closed(socket, c);
}

// Asks the host who owns a child; false: the host does not want it, and it is reset at the end of the input.
bool TcpServer::name_owner(TcpSocket& child) {
  if (child.owner != 0) return true;
  if (child.refused) return false;
  child.owner = host().on_incoming(child.parent->owner, child.id, child.local, child.remote);
  if (child.owner != 0) return true;
  child.refused = true;
  unqueue(child);
  services().doom(child);
  return false;
}

void TcpServer::promote(TcpSocket& child) {
  TcpSocket& listener = *child.parent;
  if (!name_owner(child)) return;
  unqueue(child);
  child.parent = &listener;
  child.place = Place::waiting;
  listener.queues->waiting.push_back(child);
  ++listener.queues->waiting_count;
  ++counters().tcp_connections_accepted;
  host().on_acceptable(listener.owner);
}

// Takes the socket out of its listener's queue or the list of orphans.
void TcpServer::unqueue(TcpSocket& socket) {
  switch (socket.place) {
    case Place::none: return;
    case Place::half_open:
      socket.parent->queues->half_open.erase(socket);
      --socket.parent->queues->half_open_count;
      break;
    case Place::waiting:
      socket.parent->queues->waiting.erase(socket);
      --socket.parent->queues->waiting_count;
      break;
    case Place::orphan:
      orphans_.erase(socket);
      --orphan_count_;
      break;
  }
  socket.place = Place::none;
  socket.parent = nullptr;
}

// A child that nobody accepted, on its way out.
void TcpServer::reset_child(TcpSocket& child) {
  unqueue(child);
  child.muted = true;
  if (child.connection != nullptr) child.connection->abort(now());
  services().tell_closed(child, bit(Event::failed) | bit(Event::closed));
  services().doom(child);
}

// The connection is over (or in TIME_WAIT): what stays is the socket, for as long as the host holds it.
void TcpServer::on_connection_closed(TcpSocket& socket, tcp::Connection& c) {
  counters().tcp_retransmits += c.info(now()).total_retrans;
  timers_.remove(socket);
  const bool waits = c.state() == tcp::State::time_wait;
  flows_.erase(socket);
  socket.flow_kind = FlowKind::none;
  if (waits) enter_time_wait(socket, c);
  socket.options = c.options();
  ferry::destroy(&c);
  socket.connection = nullptr;
  --connection_count_;
  release_port_unless_chosen(socket);
  if (!socket.id_dead) return;
  unqueue(socket);
  services().doom(socket);
}

void TcpServer::enter_time_wait(TcpSocket& socket, tcp::Connection& c) {
  if (time_wait_count_ >= services().config().max_time_wait) {
    ++counters().tcp_time_waits_forgotten;
    if (time_waits_.empty()) return;
    forget_time_wait(*time_waits_.front());
  }
  TimeWaitEntry* entry = make<TimeWaitEntry>();
  if (entry == nullptr) return void(++counters().tcp_time_waits_forgotten);
  ++time_wait_count_;
  entry->state = c.time_wait();
  entry->path = socket.path;
  entry->local = socket.local;
  entry->remote = socket.remote;
  entry->protocol = wire::kProtocolTcp;
  entry->flow_kind = FlowKind::time_wait;
  entry->bound_address = socket.bound_address;
  entry->uid = socket.uid;
  entry->reuse_address = socket.reuse_address;
  entry->reuse_port = socket.reuse_port;
  entry->automatic = socket.automatic;
  entry->in_time_wait = true;
  time_waits_.push_back(*entry);
  if (!ports_.join(*entry, entry->local.port) || !flows_.insert(*entry)) forget_time_wait(*entry);
}

void TcpServer::forget_time_wait(TimeWaitEntry& entry) {
  flows_.erase(entry);
  ports_.release(entry);
  time_waits_.erase(entry);
  --time_wait_count_;
  ferry::destroy(&entry);
}

void TcpServer::expire_time_waits() {
  while (TimeWaitEntry* entry = time_waits_.front()) {
    if (entry->state.expires > now()) break;
    forget_time_wait(*entry);
  }
}

}  // namespace ferry::stack

// What connections tell: payload to and from the host's memory, events, and the ends of connections.
#include "port/api/alloc.h"
#include "stack/engine.h"

namespace ferry::stack {
namespace {
constexpr uint32_t bit(tcp::Event e) { return static_cast<uint32_t>(e); }
}  // namespace

Result<buf::IoDesc> Engine::place(tcp::Connection& c, ByteSpan payload) {
  TcpSocket& socket = socket_of(c);
  if (socket.refused || (socket.parent != nullptr && !name_owner(socket))) return Errc::no_buffers;
  return host_.place(socket.owner, payload);
}

void Engine::discard(tcp::Connection& c, const buf::IoDesc& d) { host_.discard(socket_of(c).owner, d); }
void Engine::deliver(tcp::Connection& c, const buf::IoDesc& d) { host_.deliver(socket_of(c).owner, d); }
void Engine::on_completed(tcp::Connection& c, uint32_t bytes) { host_.on_completed(socket_of(c).owner, bytes); }
void Engine::on_deadline_changed(tcp::Connection& c) { timers_.set(socket_of(c), c.next_deadline()); }

void Engine::on_events(tcp::Connection& c, uint32_t events) {
  TcpSocket& socket = socket_of(c);
  const bool closed = (events & bit(tcp::Event::closed)) != 0;
  const bool failed = (events & bit(tcp::Event::failed)) != 0;
  if (failed) {
    socket.failed = true;
    socket.error = c.error();
    ++counters_.tcp_connections_failed;
  }
  if ((events & bit(tcp::Event::established)) != 0) {
    socket.established = true;
    if (socket.parent == nullptr) ++counters_.tcp_connections_opened;
  }
  if (socket.muted) {
    if (closed) on_connection_closed(socket, c);
    return;
  }
  if (socket.parent != nullptr) {
    if (closed || failed) {
      unqueue(socket);
      tell_closed(socket, bit(tcp::Event::failed) | bit(tcp::Event::closed));
      socket.muted = true;
      if (closed) on_connection_closed(socket, c);
      return doom(socket);
    }
    if (socket.place == Place::half_open) {
      const uint32_t wanted = socket.parent->defer_accept_s == 0
                                  ? bit(tcp::Event::established)
                                  : bit(tcp::Event::readable) | bit(tcp::Event::peer_closed);
      if ((events & wanted) == 0) return;
      promote(socket);
      if (socket.refused) return;
    }
  }
  if (closed) socket.told_closed = true;
  if (socket.owner != 0) host_.on_events(socket.owner, events);
  if (closed) on_connection_closed(socket, c);
}

// Asks the host who owns a child; false: the host does not want it, and it is reset at the end of the input.
bool Engine::name_owner(TcpSocket& child) {
  if (child.owner != 0) return true;
  if (child.refused) return false;
  child.owner = host_.on_incoming(child.parent->owner, child.id, child.local, child.remote);
  if (child.owner != 0) return true;
  child.refused = true;
  unqueue(child);
  doom(child);
  return false;
}

void Engine::promote(TcpSocket& child) {
  TcpSocket& listener = *child.parent;
  if (!name_owner(child)) return;
  unqueue(child);
  child.parent = &listener;
  child.place = Place::waiting;
  listener.queues->waiting.push_back(child);
  ++listener.queues->waiting_count;
  ++counters_.tcp_connections_accepted;
  host_.on_acceptable(listener.owner);
}

// Takes the socket out of its listener's queue or the list of orphans.
void Engine::unqueue(TcpSocket& socket) {
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
void Engine::reset_child(TcpSocket& child) {
  unqueue(child);
  child.muted = true;
  if (child.connection != nullptr) child.connection->abort(now_);
  tell_closed(child, bit(tcp::Event::failed) | bit(tcp::Event::closed));
  doom(child);
}

void Engine::tell_closed(Socket& socket, uint32_t events) {
  if (socket.told_closed) return;
  socket.told_closed = true;
  if (socket.owner != 0) host_.on_events(socket.owner, events);
}

// The connection is over (or in TIME_WAIT): what stays is the socket, for as long as the host holds it.
void Engine::on_connection_closed(TcpSocket& socket, tcp::Connection& c) {
  counters_.tcp_retransmits += c.info(now_).total_retrans;
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
  doom(socket);
}

void Engine::enter_time_wait(TcpSocket& socket, tcp::Connection& c) {
  if (time_wait_count_ >= config_.max_time_wait) {
    ++counters_.tcp_time_waits_forgotten;
    if (time_waits_.empty()) return;
    forget_time_wait(*time_waits_.front());
  }
  TimeWaitEntry* entry = make<TimeWaitEntry>();
  if (entry == nullptr) return void(++counters_.tcp_time_waits_forgotten);
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
  if (!tcp_ports_.join(*entry, entry->local.port) || !flows_.insert(*entry)) forget_time_wait(*entry);
}

void Engine::forget_time_wait(TimeWaitEntry& entry) {
  flows_.erase(entry);
  tcp_ports_.release(entry);
  time_waits_.erase(entry);
  --time_wait_count_;
  ferry::destroy(&entry);
}

void Engine::expire_time_waits() {
  while (TimeWaitEntry* entry = time_waits_.front()) {
    if (entry->state.expires > now_) break;
    forget_time_wait(*entry);
  }
}

}  // namespace ferry::stack

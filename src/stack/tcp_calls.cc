// Calls on TCP sockets: listen, connect, accept, data, the ways to end.
#include "port/api/alloc.h"
#include "stack/engine.h"
#include "tcp/isn.h"
#include "tcp/limits.h"

namespace ferry::stack {
namespace {

// Payload of the super-segments that are cut in software (tcp_output.cc) for links that do not segment.
constexpr uint32_t kSoftwareGso = 64000;

CallResult failure(Errc e) {
  CallResult r;
  r.error = e;
  return r;
}

}  // namespace

CallResult Engine::tcp_call(TcpSocket& socket, const Call& call) {
  tcp::Connection* c = socket.connection;
  switch (call.op) {
    case CallOp::listen: return failure(listen(socket, call.number).error());
    case CallOp::connect: return tcp_connect(socket, call);
    case CallOp::accept: return accept(socket);
    case CallOp::send: {
      if (c == nullptr) return failure(socket.established ? Errc::broken_pipe : Errc::not_connected);
      tcp::Connection::SendFlags flags;
      flags.more = (call.flags & kSendMore) != 0;
      flags.urgent = (call.flags & kSendUrgent) != 0;
      return failure(c->send(now_, call.data, flags).error());
    }
    case CallOp::consumed:
      if (call.number < 0 || call.number > UINT32_MAX) return failure(Errc::invalid);
      if (c != nullptr && call.number > 0) {
        if (call.number > c->unread()) return failure(Errc::invalid);
        c->consumed(now_, static_cast<uint32_t>(call.number));
      }
      return {};
    case CallOp::shutdown:
      if (call.number < 1 || call.number > 3) return failure(Errc::invalid);
      if (socket.queues != nullptr && (call.number & 1) != 0) {  // as Linux: the listener stops
        stop_listening(socket);
        return {};
      }
      if (c == nullptr) return failure(socket.established ? Errc::ok : Errc::not_connected);
      if ((call.number & 1) != 0) c->shutdown_read(now_);
      if ((call.number & 2) != 0 && socket.connection != nullptr) c->shutdown_write(now_);
      return {};
    case CallOp::close: return tcp_close(socket, false);
    case CallOp::abort: return tcp_close(socket, true);
    default: return failure(Errc::not_supported);
  }
}

Status Engine::listen(TcpSocket& socket, int64_t backlog) {
  if (socket.connection != nullptr) return Errc::invalid;
  if (backlog < 0 || backlog > config_.max_backlog) backlog = config_.max_backlog;
  if (socket.queues != nullptr) {
    socket.queues->backlog = static_cast<uint32_t>(backlog);
    return {};
  }
  const bool chosen_here = !socket.bound();
  if (chosen_here) {
    auto port = tcp_ports_.bind_ephemeral(socket, random_start());
    if (!port) return port.error();
    socket.local = {{}, *port};
  }
  tcp_ports_.set_listening(socket, true);
  Listening* listening = nullptr;
  if (!tcp_ports_.conflicts(socket)) listening = make<Listening>();
  else {
    tcp_ports_.set_listening(socket, false);
    if (chosen_here) tcp_ports_.release(socket);
    return Errc::address_in_use;
  }
  if (listening == nullptr) {
    tcp_ports_.set_listening(socket, false);
    if (chosen_here) tcp_ports_.release(socket);
    return Errc::no_memory;
  }
  listening->backlog = static_cast<uint32_t>(backlog);
  socket.queues = listening;
  socket.local.address = socket.bound_address;
  tcp_ports_.add_receiver(socket);
  return {};
}

void Engine::stop_listening(TcpSocket& socket) {
  Listening* listening = socket.queues;
  while (TcpSocket* child = listening->half_open.front()) reset_child(*child);
  while (TcpSocket* child = listening->waiting.front()) reset_child(*child);
  tcp_ports_.remove_receiver(socket);
  tcp_ports_.set_listening(socket, false);
  socket.queues = nullptr;
  ferry::destroy(listening);
}

CallResult Engine::accept(TcpSocket& listener) {
  if (listener.queues == nullptr) return failure(Errc::invalid);
  TcpSocket* child = listener.queues->waiting.front();
  if (child == nullptr) return failure(Errc::again);
  unqueue(*child);
  CallResult result;
  result.socket = child->id;
  result.local = child->local;
  result.remote = child->remote;
  return result;
}

CallResult Engine::tcp_connect(TcpSocket& socket, const Call& call) {
  if (call.remote.address.is_any() && call.remote.port == 0) {
    disconnect(socket);
    return {};
  }
  if (socket.queues != nullptr) return failure(Errc::is_connected);
  if (socket.connection != nullptr)
    return failure(socket.connection->state() == tcp::State::syn_sent ? Errc::already : Errc::is_connected);
  const wire::IpAddress destination = reachable(call.remote.address);
  if (!destination.is_v4()) return failure(Errc::net_unreachable);
  auto path = network_.find_path(destination.v4(), socket.bound_address.v4());
  if (!path) return failure(path.error());
  if (path->broadcast || path->multicast) return failure(Errc::net_unreachable);
  if (call.remote.port == 0) return failure(Errc::address_not_available);

  const uint16_t port_before = socket.bound() ? socket.local.port : 0;
  socket.path = *path;
  socket.path_generation = path_generation_;
  socket.local = {socket.bound_address.is_any() ? wire::IpAddress::from(path->source) : socket.bound_address, port_before};
  socket.remote = {destination, call.remote.port};
  auto port = choose_port(socket);
  if (!port) return failure(port.error());
  socket.local.port = *port;
  if (auto opened = open_connection(socket); !opened) {
    release_port_unless_chosen(socket);
    return failure(opened.error());
  }
  CallResult result;
  result.error = Errc::in_progress;
  result.local = socket.local;
  result.remote = socket.remote;
  return result;
}

// Makes the connection of a socket whose endpoints, path and port are set, and sends its SYN.
Status Engine::open_connection(TcpSocket& socket) {
  FERRY_TRY(reserve_connection());
  tcp::Setup setup = setup_for(socket);
  if (Flow* old = flows_.find(wire::kProtocolTcp, socket.local, socket.remote)) {
    if (old->flow_kind != FlowKind::time_wait) return Errc::address_not_available;
    TimeWaitEntry& entry = *static_cast<TimeWaitEntry*>(old);
    if (setup.iss < entry.state.next_iss()) setup.iss = entry.state.next_iss();  // RFC 1122 section 4.2.2.13
    forget_time_wait(entry);
  }
  tcp::Connection* c = make<tcp::Connection>(*this, setup);
  if (c == nullptr) return Errc::no_memory;
  socket.flow_kind = FlowKind::connection;
  if (auto inserted = flows_.insert(socket); !inserted) {
    socket.flow_kind = FlowKind::none;
    ferry::destroy(c);
    return inserted.error();
  }
  ++connection_count_;
  socket.connection = c;
  socket.told_closed = socket.failed = socket.established = false;
  socket.error = Errc::ok;
  c->open_active(now_);
  return {};
}

tcp::Setup Engine::setup_for(TcpSocket& socket) {
  tcp::Setup setup;
  setup.local = socket.local;
  setup.remote = socket.remote;
  setup.iss = tcp::initial_sequence(now_, isn_key_, socket.local, socket.remote);
  setup.timestamp_offset = tcp::timestamp_offset(timestamp_key_, socket.local.address, socket.remote.address);
  setup.mss = static_cast<uint16_t>(socket.path.mtu - wire::kIpv4HeaderBytes - 20);
  setup.max_gso = socket.path.max_gso > 0 ? socket.path.max_gso : kSoftwareGso;
  setup.context = &socket;
  setup.options = socket.options;
  return setup;
}

// RFC 6056 section 3.3.4: where the search begins depends on a secret and the destination; how far it got is remembered per group
// of destinations, so that ports are not soon used again.
Result<uint16_t> Engine::choose_port(TcpSocket& socket) {
  if (socket.bound()) {
    if (!flow_is_free(wire::kProtocolTcp, socket.local, socket.remote)) return Errc::address_not_available;
    return socket.local.port;
  }
  std::byte key[34];
  for (size_t i = 0; i < 16; ++i) {
    key[i] = std::byte{socket.local.address.octets[i]};
    key[16 + i] = std::byte{socket.remote.address.octets[i]};
  }
  store_be16(key, 32, socket.remote.port);
  const uint64_t h = siphash(port_key_, ByteSpan(key, sizeof key));
  uint32_t& perturbation = perturbations_[(h >> 32) % kPerturbations];
  perturbation += 1 + rng_.below(8);
  Endpoint local = socket.local;
  return tcp_ports_.bind_automatic(socket, static_cast<uint32_t>(h % 0x10000000) + perturbation, [&](uint16_t port) {
    local.port = port;
    return flow_is_free(wire::kProtocolTcp, local, socket.remote);
  });
}

// Whether a connection may use these endpoints: nobody does, or only a TIME_WAIT that timestamps make safe to take over.
bool Engine::flow_is_free(uint8_t protocol, const Endpoint& local, const Endpoint& remote) {
  const Flow* flow = flows_.look_up(protocol, local, remote);
  if (flow == nullptr) return true;
  return flow->flow_kind == FlowKind::time_wait &&
         static_cast<const TimeWaitEntry*>(flow)->state.may_reopen_actively(now_);
}

// connect(AF_UNSPEC): the connection is reset, a listener stops; the socket is as new, but keeps a port that bind() gave it.
void Engine::disconnect(TcpSocket& socket) {
  if (socket.queues != nullptr) stop_listening(socket);
  if (socket.connection != nullptr) {
    socket.muted = true;
    socket.connection->abort(now_);
    socket.muted = false;
  }
  socket.established = socket.failed = false;
  socket.error = Errc::ok;
  socket.remote = {};
  socket.local.address = socket.bound_address;
}

void Engine::release_port_unless_chosen(TcpSocket& socket) {
  if (socket.bound() && socket.automatic) tcp_ports_.release(socket);
}

CallResult Engine::tcp_close(TcpSocket& socket, bool abort) {
  if (socket.queues != nullptr) stop_listening(socket);
  sockets_.remove(socket.id);
  socket.id = 0;
  socket.id_dead = true;
  if (socket.connection != nullptr) {
    if (abort || socket.linger_s == 0) {
      socket.connection->abort(now_);
    } else {
      add_orphan(socket);
      socket.connection->close(now_);
    }
    if (socket.connection != nullptr) {
      limit_orphans();
      return {};
    }
  }
  tell_closed(socket, static_cast<uint32_t>(tcp::Event::closed));
  doom(socket);
  return {};
}

void Engine::add_orphan(TcpSocket& socket) {
  socket.place = Place::orphan;
  orphans_.push_back(socket);
  ++orphan_count_;
}

// The oldest is the one that has had most time to end, and most likely the one that never will (Linux's tcp_max_orphans resets the
// newest instead, so that a peer that takes nothing can keep the others from ending properly).
void Engine::limit_orphans() {
  while (orphan_count_ > config_.max_orphans) {
    ++counters_.tcp_orphans_reset;
    orphans_.front()->connection->abort(now_);
  }
}

}  // namespace ferry::stack

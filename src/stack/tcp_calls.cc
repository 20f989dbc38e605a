// Calls on TCP sockets: listen, connect, accept, data, the ways to end.
#include "port/api/alloc.h"
#include "stack/option_map.h"
#include "stack/tcp_server.h"
#include "tcp/isn.h"
#include "tcp/limits.h"

namespace ferry::stack {
namespace {

// Payload of the super-segments that are cut in software (tcp_output.cc) for links that do not segment.
constexpr uint32_t kSoftwareGso = 64000;

}  // namespace

CallResult TcpServer::call(Socket& any, const Call& call) {
  TcpSocket& socket = static_cast<TcpSocket&>(any);
  switch (call.op) {
    case CallOp::bind: return bind(socket, call);
    case CallOp::set_option: return failure(set_option(socket, call.option, call.number).error());
    default: break;
  }
  if (socket.parent != nullptr) return failure(Errc::bad_socket);  // not accepted yet
  switch (call.op) {
    case CallOp::listen: return failure(listen(socket, call.number).error());
    case CallOp::connect: return connect(socket, call);
    case CallOp::accept: return accept(socket);
    case CallOp::send: return send(socket, call);
    case CallOp::consumed: return consumed(socket, call.number);
    case CallOp::shutdown: return shutdown(socket, call.number);
    case CallOp::close: return close(socket, false);
    case CallOp::abort: return close(socket, true);
    case CallOp::settle: return failure(settle(socket).error());
    case CallOp::pass: return failure(pass(socket, call).error());
    default: return failure(Errc::not_supported);
  }
}

CallResult TcpServer::send(TcpSocket& socket, const Call& call) {
  if (socket.connection == nullptr) return failure(socket.established ? Errc::broken_pipe : Errc::not_connected);
  tcp::Connection::SendFlags flags;
  flags.more = (call.flags & kSendMore) != 0;
  flags.urgent = (call.flags & kSendUrgent) != 0;
  return failure(socket.connection->send(now(), call.data, flags).error());
}

CallResult TcpServer::consumed(TcpSocket& socket, int64_t bytes) {
  if (bytes < 0 || bytes > UINT32_MAX) return failure(Errc::invalid);
  if (socket.connection == nullptr || bytes == 0) return {};
  if (bytes > socket.connection->unread()) return failure(Errc::invalid);
  socket.connection->consumed(now(), static_cast<uint32_t>(bytes));
  return {};
}

CallResult TcpServer::shutdown(TcpSocket& socket, int64_t how) {
  if (how < 1 || how > 3) return failure(Errc::invalid);
  if (socket.queues != nullptr && (how & 1) != 0) {  // as Linux: the listener stops
    stop_listening(socket);
    return {};
  }
  if (socket.connection == nullptr) return failure(socket.established ? Errc::ok : Errc::not_connected);
  if ((how & 1) != 0) socket.connection->shutdown_read(now());
  if ((how & 2) != 0 && socket.connection != nullptr) socket.connection->shutdown_write(now());
  return {};
}

Status TcpServer::set_option(TcpSocket& socket, Option option, int64_t value) {
  Status outcome;
  if (set_common_option(socket, option, value, outcome)) return outcome;
  switch (option) {
    case Option::linger:
      if (value < -1 || value > INT32_MAX) return Errc::invalid;
      socket.linger_s = static_cast<int32_t>(value);
      return {};
    case Option::defer_accept:
      if (value < 0 || value > INT32_MAX) return Errc::invalid;
      socket.defer_accept_s = static_cast<uint32_t>(value);
      return {};
    case Option::held:
      if (socket.queues == nullptr || value < 0 || value > UINT32_MAX) return Errc::invalid;
      socket.queues->held = static_cast<uint32_t>(value);
      return {};
    default: break;
  }
  tcp::Option tcp_option;
  if (!to_tcp_option(option, tcp_option)) return Errc::no_protocol_option;
  if (socket.connection != nullptr) return socket.connection->set_option(now(), tcp_option, value);
  return tcp::store_option(socket.options, tcp_option, value);
}

Status TcpServer::listen(TcpSocket& socket, int64_t backlog) {
  if (socket.connection != nullptr) return Errc::invalid;
  if (backlog < 0 || backlog > services().config().max_backlog) backlog = services().config().max_backlog;
  if (socket.queues != nullptr) {
    socket.queues->backlog = static_cast<uint32_t>(backlog);
    return {};
  }
  const bool chosen_here = !socket.bound();
  if (chosen_here) {
    auto port = ports_.bind_ephemeral(socket, random_start());
    if (!port) return port.error();
    socket.local = {{}, *port};
  }
  ports_.set_listening(socket, true);
  Listening* listening = nullptr;
  if (socket.port_granted || !ports_.conflicts(socket)) listening = make<Listening>();
  else {
    ports_.set_listening(socket, false);
    if (chosen_here) ports_.release(socket);
    return Errc::address_in_use;
  }
  if (listening == nullptr) {
    ports_.set_listening(socket, false);
    if (chosen_here) ports_.release(socket);
    return Errc::no_memory;
  }
  listening->backlog = static_cast<uint32_t>(backlog);
  socket.queues = listening;
  socket.local.address = socket.bound_address;
  ports_.add_receiver(socket);
  return {};
}

void TcpServer::stop_listening(TcpSocket& socket) {
  Listening* listening = socket.queues;
  while (TcpSocket* child = listening->half_open.front()) reset_child(*child);
  while (TcpSocket* child = listening->waiting.front()) reset_child(*child);
  ports_.remove_receiver(socket);
  ports_.set_listening(socket, false);
  socket.queues = nullptr;
  ferry::destroy(listening);
}

CallResult TcpServer::accept(TcpSocket& listener) {
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

CallResult TcpServer::connect(TcpSocket& socket, const Call& call) {
  if (call.remote.address.is_any() && call.remote.port == 0) {
    disconnect(socket);
    return {};
  }
  if (socket.queues != nullptr) return failure(Errc::is_connected);
  if (socket.connection != nullptr)
    return failure(socket.connection->state() == tcp::State::syn_sent ? Errc::already : Errc::is_connected);
  const wire::IpAddress destination = services().reachable(call.remote.address);
  if (!destination.is_v4()) return failure(Errc::net_unreachable);
  auto path = network().find_path(destination.v4(), socket.bound_address.v4());
  if (!path) return failure(path.error());
  if (path->broadcast || path->multicast) return failure(Errc::net_unreachable);
  if (call.remote.port == 0) return failure(Errc::address_not_available);

  const uint16_t port_before = socket.bound() ? socket.local.port : 0;
  socket.path = *path;
  socket.path_generation = services().path_generation();
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
Status TcpServer::open_connection(TcpSocket& socket) {
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
  c->open_active(now());
  return {};
}

tcp::Setup TcpServer::setup_for(TcpSocket& socket) {
  tcp::Setup setup;
  setup.local = socket.local;
  setup.remote = socket.remote;
  setup.iss = tcp::initial_sequence(now(), isn_key_, socket.local, socket.remote);
  setup.timestamp_offset = tcp::timestamp_offset(timestamp_key_, socket.local.address, socket.remote.address);
  setup.mss = static_cast<uint16_t>(socket.path.mtu - wire::kIpv4HeaderBytes - 20);
  setup.max_gso = socket.path.max_gso > 0 ? socket.path.max_gso : kSoftwareGso;
  setup.context = &socket;
  setup.options = socket.options;
  return setup;
}

// RFC 6056 section 3.3.4: where the search begins depends on a secret and the destination; how far it got is remembered per group
// of destinations, so that ports are not soon used again.
Result<uint16_t> TcpServer::choose_port(TcpSocket& socket) {
  if (socket.bound()) {
    if (!flow_is_free(socket.local, socket.remote)) return Errc::address_not_available;
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
  perturbation += 1 + services().rng().below(8);
  Endpoint local = socket.local;
  return ports_.bind_automatic(socket, static_cast<uint32_t>(h % 0x10000000) + perturbation, [&](uint16_t port) {
    local.port = port;
    return is_in_our_share(local, socket.remote) && flow_is_free(local, socket.remote);
  });
}

// Whether a connection may use these endpoints: nobody does, or only a TIME_WAIT that timestamps make safe to take over.
bool TcpServer::flow_is_free(const Endpoint& local, const Endpoint& remote) {
  const Flow* flow = flows_.look_up(wire::kProtocolTcp, local, remote);
  if (flow == nullptr) return true;
  return flow->flow_kind == FlowKind::time_wait &&
         static_cast<const TimeWaitEntry*>(flow)->state.may_reopen_actively(now());
}

// connect(AF_UNSPEC): the connection is reset, a listener stops; the socket is as new, but keeps a port that bind() gave it.
void TcpServer::disconnect(TcpSocket& socket) {
  if (socket.queues != nullptr) stop_listening(socket);
  if (socket.connection != nullptr) {
    socket.muted = true;
    socket.connection->abort(now());
    socket.muted = false;
  }
  socket.established = socket.failed = false;
  socket.error = Errc::ok;
  socket.remote = {};
  socket.local.address = socket.bound_address;
}

void TcpServer::release_port_unless_chosen(TcpSocket& socket) {
  if (socket.bound() && socket.automatic) ports_.release(socket);
}

CallResult TcpServer::close(TcpSocket& socket, bool abort) {
  if (socket.queues != nullptr) stop_listening(socket);
  services().forget(socket);
  if (socket.connection != nullptr) {
    if (abort || socket.linger_s == 0) {
      socket.connection->abort(now());
    } else {
      add_orphan(socket);
      socket.connection->close(now());
    }
    if (socket.connection != nullptr) {
      limit_orphans();
      return {};
    }
  }
  services().tell_closed(socket, bit(Event::closed));
  services().doom(socket);
  return {};
}

void TcpServer::add_orphan(TcpSocket& socket) {
  socket.place = Place::orphan;
  orphans_.push_back(socket);
  ++orphan_count_;
}

// The oldest is the one that has had most time to end, and most likely the one that never will (Linux's tcp_max_orphans resets the
// newest instead, so that a peer that takes nothing can keep the others from ending properly).
void TcpServer::limit_orphans() {
  while (orphan_count_ > services().config().max_orphans) {
    ++counters().tcp_orphans_reset;
    orphans_.front()->connection->abort(now());
  }
}

}  // namespace ferry::stack

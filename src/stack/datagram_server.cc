// Datagram sockets of any protocol; see datagram_server.h.
#include "stack/datagram_server.h"

#include "port/api/alloc.h"
#include "stack/port_record.h"

namespace ferry::stack {

Result<Socket*> DatagramServer::make_socket(const Call& call) {
  DatagramSocket* socket = make<DatagramSocket>(type_);
  if (socket == nullptr) return Errc::no_memory;
  socket->protocol = protocol_;
  socket->uid = static_cast<uint32_t>(call.number);
  return socket;
}

void DatagramServer::destroy(Socket& any, bool) {
  DatagramSocket& socket = static_cast<DatagramSocket&>(any);
  services().forget(socket);
  flows_.erase(socket);
  ports_.release(socket);
  ferry::destroy(&socket);
}

DatagramInfo DatagramServer::info_of(const net::Datagram& d, const Endpoint& local, const Endpoint& remote) {
  DatagramInfo info;
  info.remote = remote;
  info.local = local;
  info.tos = d.ip.tos();
  info.ttl = d.ip.ttl();
  info.link = d.link;
  return info;
}

bool DatagramServer::deliver(DatagramSocket& socket, const DatagramInfo& info, ByteSpan payload) {
  if (host().deliver_datagram(socket.owner, info, payload)) return true;
  counters().drop(Drop::udp_queue_full);
  return false;
}

// Connected to `remote` before bound to this address before bound to all; among equals the last bound, or by the flow's hash when
// they share the port by SO_REUSEPORT.
DatagramSocket* DatagramServer::find_socket(const Endpoint& local, const Endpoint& remote) {
  if (Flow* flow = flows_.find(protocol_, local, remote)) return static_cast<DatagramSocket*>(flow);
  PortBucket* bucket = ports_.find(local.port);
  if (bucket == nullptr) return nullptr;
  const auto score = [&](const DatagramSocket& s) {
    if (!s.bound_address.is_any() && s.bound_address != local.address) return 0;
    if (s.connected) return is_peer(s, remote) ? 4 : 0;
    return s.bound_address.is_any() ? 1 : 2;
  };
  DatagramSocket* best = nullptr;
  int best_score = 0;
  uint32_t group = 0;
  for (Binding* b = bucket->receivers.front(); b != nullptr; b = bucket->receivers.next(*b)) {
    DatagramSocket& s = *static_cast<DatagramSocket*>(b);
    const int n = score(s);
    if (n == 0 || n < best_score) continue;
    group = n > best_score ? 1 : group + 1;
    best = &s;
    best_score = n;
  }
  if (group < 2 || !best->reuse_port) return best;
  uint32_t turn = flows_.hash(protocol_, local, remote) % group;
  for (Binding* b = bucket->receivers.front(); b != nullptr; b = bucket->receivers.next(*b)) {
    DatagramSocket& s = *static_cast<DatagramSocket*>(b);
    if (score(s) == best_score && turn-- == 0) return &s;
  }
  return best;
}

CallResult DatagramServer::call(Socket& any, const Call& call) {
  DatagramSocket& socket = static_cast<DatagramSocket&>(any);
  switch (call.op) {
    case CallOp::bind: return bind(socket, call);
    case CallOp::set_option: return failure(set_option(socket, call.option, call.number).error());
    case CallOp::connect: return connect(socket, call);
    case CallOp::send_datagram:
    case CallOp::send_echo: return failure(send(socket, call).error());
    case CallOp::consumed: return {};
    case CallOp::shutdown: return failure(socket.connected ? Errc::ok : Errc::not_connected);
    case CallOp::close:
    case CallOp::abort:
      services().tell_closed(socket, bit(Event::closed));
      flows_.erase(socket);
      ports_.release(socket);
      services().doom(socket);
      return {};
    default: return failure(Errc::not_supported);
  }
}

Status DatagramServer::set_option(DatagramSocket& socket, Option option, int64_t value) {
  Status outcome;
  if (set_common_option(socket, option, value, outcome)) return outcome;
  if (option == Option::linger) return value < -1 || value > INT32_MAX ? Errc::invalid : Errc::ok;
  if (value < 0 || value > UINT32_MAX) return Errc::invalid;
  if (option == Option::receive_buffer) socket.receive_buffer = static_cast<uint32_t>(value);
  else if (option == Option::send_buffer) socket.send_buffer = static_cast<uint32_t>(value);
  else return Errc::no_protocol_option;
  return {};
}

Result<int64_t> DatagramServer::option(const Socket& any, Option option) const {
  const DatagramSocket& socket = static_cast<const DatagramSocket&>(any);
  int64_t value = 0;
  if (common_option(socket, option, value)) return value;
  switch (option) {
    case Option::linger: return int64_t{-1};
    case Option::receive_buffer: return int64_t{socket.receive_buffer};
    case Option::send_buffer: return int64_t{socket.send_buffer};
    default: return Errc::no_protocol_option;
  }
}

void DatagramServer::describe(const Socket& socket, Instant, SocketInfo& info) const {
  describe_common(static_cast<const DatagramSocket&>(socket), info);
}

Status DatagramServer::bind_automatically(DatagramSocket& socket) {
  if (socket.bound()) return {};
  auto port = ports_.bind_ephemeral(socket, random_start());
  if (!port) return port.error() == Errc::address_in_use ? Errc::again : port.error();  // EAGAIN, as udp(7)
  ports_.add_receiver(socket);
  socket.local = {{}, *port};
  return {};
}

CallResult DatagramServer::connect(DatagramSocket& socket, const Call& call) {
  if (call.remote.address.is_any() && call.remote.port == 0) {
    const bool was_flow = socket.hashed;
    flows_.erase(socket);
    socket.flow_kind = FlowKind::none;
    socket.connected = false;
    socket.remote = {};
    socket.local.address = socket.bound_address;
    if (was_flow) ports_.add_receiver(socket);
    return {};
  }
  const wire::IpAddress destination = services().reachable(call.remote.address);
  if (!destination.is_v4()) return failure(Errc::net_unreachable);
  const bool group_bound = socket.bound_address.is_v4() && !network().is_local(socket.bound_address.v4());
  auto path = network().find_path(destination.v4(), group_bound ? wire::Ipv4Address{} : socket.bound_address.v4());
  if (!path) return failure(path.error());
  if (path->broadcast && !socket.broadcast) return failure(Errc::access);
  if (auto bound = bind_automatically(socket); !bound) return failure(bound.error());
  const bool was_flow = socket.hashed;
  flows_.erase(socket);
  socket.flow_kind = FlowKind::none;
  socket.local.address = socket.bound_address.is_any() ? wire::IpAddress::from(path->source) : socket.bound_address;
  socket.remote = {destination, call.remote.port};
  socket.connected = true;
  // A second socket with the same endpoints (SO_REUSEADDR) stays among the receivers, as does one whose answers come from elsewhere.
  bool found_by_flow = false;
  if (is_flow(*path)) {
    socket.flow_kind = FlowKind::datagram;
    found_by_flow = flows_.insert(socket).ok();
    if (!found_by_flow) socket.flow_kind = FlowKind::none;
  }
  if (found_by_flow && !was_flow) ports_.remove_receiver(socket);
  if (!found_by_flow && was_flow) ports_.add_receiver(socket);
  CallResult result;
  result.local = socket.local;
  result.remote = socket.remote;
  return result;
}

void DatagramServer::on_icmp_error(const net::IcmpError& e) {
  DatagramSocket* socket = find_socket(e.local, e.remote);
  if (socket == nullptr) return counters().drop(Drop::icmp_quote);
  if (!wants_error(*socket, e)) return;
  IcmpError error;
  error.error = e.error;
  error.type = e.type;
  error.code = e.code;
  error.mtu = e.mtu;
  error.remote = e.remote;
  error.from = wire::IpAddress::from(e.from);
  host().deliver_icmp_error(socket->owner, error);
}

Result<size_t> DatagramServer::save(const Socket& any, MutableByteSpan bytes) const {
  const DatagramSocket& socket = static_cast<const DatagramSocket&>(any);
  RecordWriter out(bytes);
  out.head(type_, RecordKind::datagram);
  write_common(out, socket);
  out.u8(socket.connected);
  if (!out.ok()) return Errc::no_buffers;
  return out.used();
}

Status DatagramServer::for_each_record(Stack::RecordSink& sink, MutableByteSpan room) const {
  Status outcome;
  for (uint32_t i = 0; i < services().slot_count(); ++i) {
    const Socket* s = services().at(i);
    if (s == nullptr || s->server != this) continue;
    if (auto length = save(*s, room)) sink.on_record(room.first(*length));
    else outcome = length.error();
  }
  return outcome;
}

Result<SocketId> DatagramServer::restore(RecordReader& in, SocketType) {
  if (services().is_full()) return Errc::too_many;
  if (static_cast<RecordKind>(in.u8()) != RecordKind::datagram) return Errc::malformed;
  DatagramSocket* s = make<DatagramSocket>(type_);
  if (s == nullptr) return Errc::no_memory;
  s->server = this;
  s->protocol = protocol_;
  const auto refuse = [&](Errc e) {
    destroy(*s, true);
    return e;
  };
  SocketId id = 0;
  const bool holds_port = read_common(in, *s, id);
  s->connected = in.u8() != 0;
  if (!in.complete() || s->ttl == 0 || (s->connected && !holds_port)) return refuse(Errc::malformed);
  if (auto added = services().restore(*s, id); !added) return refuse(added.error());
  if (!holds_port) return id;
  if (auto joined = ports_.join(*s, s->local.port); !joined) return refuse(joined.error());
  const bool was_flow = s->connected && !s->remote.address.v4().is_limited_broadcast() && is_flow({});
  if (was_flow) {
    s->flow_kind = FlowKind::datagram;
    if (flows_.insert(*s)) return id;
    s->flow_kind = FlowKind::none;
  }
  ports_.add_receiver(*s);
  return id;
}

}  // namespace ferry::stack

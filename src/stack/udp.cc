// Datagram sockets: UDP (RFC 768, 1122 section 4.1) and ICMP echo.
#include "port/api/alloc.h"
#include "stack/engine.h"
#include "udp/datagram.h"

namespace ferry::stack {
namespace {

CallResult failure(Errc e) {
  CallResult r;
  r.error = e;
  return r;
}

DatagramInfo info_of(const net::Datagram& d, const Endpoint& local, const Endpoint& remote) {
  DatagramInfo info;
  info.remote = remote;
  info.local = local;
  info.tos = d.ip.tos();
  info.ttl = d.ip.ttl();
  info.link = d.link;
  return info;
}

}  // namespace

void Engine::on_udp(const net::Datagram& d) {
  ++counters_.udp_in;
  auto view = udp::receive(d, counters_);
  if (!view) return;
  const Endpoint local{wire::IpAddress::from(d.ip.destination()), view->destination_port()};
  const Endpoint remote{wire::IpAddress::from(d.ip.source()), view->source_port()};
  const DatagramInfo info = info_of(d, local, remote);
  if (d.broadcast) {  // every socket that it matches gets a copy
    PortBucket* bucket = udp_ports_.find(local.port);
    if (bucket == nullptr) return counters_.drop(Drop::udp_no_socket);
    for (Binding* b = bucket->holders.front(); b != nullptr; b = bucket->holders.next(*b)) {
      DatagramSocket& socket = *static_cast<DatagramSocket*>(b);
      if (!b->bound_address.is_any() && b->bound_address != local.address) continue;
      if (socket.connected && socket.remote != remote) continue;
      deliver_udp(socket, d, info, view->payload());
    }
    return;
  }
  DatagramSocket* socket = find_datagram_socket(wire::kProtocolUdp, local, remote);
  if (socket != nullptr) {
    deliver_udp(*socket, d, info, view->payload());
    return;
  }
  counters_.drop(Drop::udp_no_socket);
  network_.send_unreachable(now_, d, wire::kPortUnreachable);
}

bool Engine::deliver_udp(DatagramSocket& socket, const net::Datagram&, const DatagramInfo& info, ByteSpan payload) {
  if (host_.deliver_datagram(socket.owner, info, payload)) return true;
  counters_.drop(Drop::udp_queue_full);
  return false;
}

// Connected to `remote` before bound to this address before bound to all; among equals the last bound, or by the flow's hash when
// they share the port by SO_REUSEPORT.
DatagramSocket* Engine::find_datagram_socket(uint8_t protocol, const Endpoint& local, const Endpoint& remote) {
  if (Flow* flow = flows_.find(protocol, local, remote)) return static_cast<DatagramSocket*>(flow);
  PortBucket* bucket = (protocol == wire::kProtocolUdp ? udp_ports_ : echo_ports_).find(local.port);
  if (bucket == nullptr) return nullptr;
  const auto score = [&](const DatagramSocket& s) {
    if (!s.bound_address.is_any() && s.bound_address != local.address) return 0;
    if (s.connected) return s.remote == remote || (protocol == wire::kProtocolIcmp && s.remote.address == remote.address) ? 4 : 0;
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
  uint32_t turn = flows_.hash(protocol, local, remote) % group;
  for (Binding* b = bucket->receivers.front(); b != nullptr; b = bucket->receivers.next(*b)) {
    DatagramSocket& s = *static_cast<DatagramSocket*>(b);
    if (score(s) == best_score && turn-- == 0) return &s;
  }
  return best;
}

CallResult Engine::datagram_call(DatagramSocket& socket, const Call& call) {
  switch (call.op) {
    case CallOp::connect: return datagram_connect(socket, call);
    case CallOp::send_datagram:
      if (socket.type != SocketType::udp) return failure(Errc::not_supported);
      return failure(send_datagram(socket, call).error());
    case CallOp::send_echo:
      if (socket.type != SocketType::icmp_echo) return failure(Errc::not_supported);
      return failure(send_echo(socket, call).error());
    case CallOp::consumed: return {};
    case CallOp::shutdown: return failure(socket.connected ? Errc::ok : Errc::not_connected);
    case CallOp::close:
    case CallOp::abort:
      tell_closed(socket, static_cast<uint32_t>(tcp::Event::closed));
      flows_.erase(socket);
      ports_of(socket).release(socket);
      doom(socket);
      return {};
    default: return failure(Errc::not_supported);
  }
}

Status Engine::bind_automatically(DatagramSocket& socket) {
  if (socket.bound()) return {};
  PortTable& ports = ports_of(socket);
  auto port = ports.bind_ephemeral(socket, random_start());
  if (!port) return port.error() == Errc::address_in_use ? Errc::again : port.error();  // EAGAIN, as udp(7)
  ports.add_receiver(socket);
  socket.local = {{}, *port};
  return {};
}

CallResult Engine::datagram_connect(DatagramSocket& socket, const Call& call) {
  PortTable& ports = ports_of(socket);
  if (call.remote.address.is_any() && call.remote.port == 0) {
    const bool was_flow = socket.hashed;
    flows_.erase(socket);
    socket.flow_kind = FlowKind::none;
    socket.connected = false;
    socket.remote = {};
    socket.local.address = socket.bound_address;
    if (was_flow) ports.add_receiver(socket);
    return {};
  }
  const wire::IpAddress destination = reachable(call.remote.address);
  if (!destination.is_v4()) return failure(Errc::net_unreachable);
  const bool group_bound = socket.bound_address.is_v4() && !network_.is_local(socket.bound_address.v4());
  auto path = network_.find_path(destination.v4(), group_bound ? wire::Ipv4Address{} : socket.bound_address.v4());
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
  bool is_flow = false;
  if (socket.type == SocketType::udp && !path->broadcast && !path->multicast) {
    socket.flow_kind = FlowKind::datagram;
    is_flow = flows_.insert(socket).ok();
    if (!is_flow) socket.flow_kind = FlowKind::none;
  }
  if (is_flow && !was_flow) ports.remove_receiver(socket);
  if (!is_flow && was_flow) ports.add_receiver(socket);
  CallResult result;
  result.local = socket.local;
  result.remote = socket.remote;
  return result;
}

Status Engine::send_datagram(DatagramSocket& socket, const Call& call) {
  Endpoint remote = call.info.remote;
  if (remote.address.is_any() && remote.port == 0) {
    if (!socket.connected) return Errc::destination_required;
    remote = socket.remote;
  }
  if (remote.port == 0) return Errc::invalid;
  remote.address = reachable(remote.address);
  if (!remote.address.is_v4()) return Errc::net_unreachable;
  wire::IpAddress wanted = call.info.local.address.is_any() ? socket.bound_address : call.info.local.address;
  if (!wanted.is_v4()) return Errc::address_not_available;
  if (!call.info.local.address.is_any()) {
    if (!network_.is_local(wanted.v4())) return Errc::invalid;
  } else if (socket.connected && wanted.is_any()) {
    wanted = socket.local.address;
  } else if (!wanted.is_any() && !network_.is_local(wanted.v4())) {
    wanted = {};  // bound to a group: any address of ours
  }
  auto path = network_.find_path(remote.address.v4(), wanted.v4());
  if (!path) return path.error();
  if (path->broadcast && !socket.broadcast) return Errc::access;
  FERRY_TRY(bind_automatically(socket));

  const uint32_t length = call.data.length;
  net::Ipv4Header ip;
  ip.source = path->source;
  ip.destination = remote.address.v4();
  ip.protocol = wire::kProtocolUdp;
  ip.tos = call.info.tos_set ? call.info.tos : socket.tos;
  ip.ttl = call.info.ttl != 0 ? call.info.ttl : socket.ttl;
  if (path->multicast && call.info.ttl == 0 && socket.ttl == 64) ip.ttl = 1;  // RFC 1112 section 6.1
  ip.dont_fragment = socket.dont_fragment || length + wire::kUdpHeaderBytes + wire::kIpv4HeaderBytes <= path->mtu;
  net::Network::begin(packet_);
  FERRY_TRY(udp::append_header(packet_, ip.source, socket.local.port, ip.destination, remote.port, length));
  if (length > 0) packet_.append_part(call.data);
  ++counters_.udp_out;
  return network_.send(now_, *path, ip, packet_);
}

Status Engine::send_echo(DatagramSocket& socket, const Call& call) {
  wire::IpAddress remote = call.remote.address;
  if (remote.is_any() && socket.connected) remote = socket.remote.address;
  if (remote.is_any() || !remote.is_v4()) return Errc::destination_required;
  if (call.number < 0 || call.number > UINT16_MAX) return Errc::invalid;
  FERRY_TRY(bind_automatically(socket));
  return network_.send_echo(now_, remote.v4(), socket.local.port, static_cast<uint16_t>(call.number), call.data, socket.ttl);
}

void Engine::on_echo_reply(Instant, const net::Datagram& d, const wire::IcmpView& reply) {
  const Endpoint local{wire::IpAddress::from(d.ip.destination()), reply.echo_identifier()};
  const Endpoint remote{wire::IpAddress::from(d.ip.source()), reply.echo_sequence()};
  DatagramSocket* socket = find_datagram_socket(wire::kProtocolIcmp, local, remote);
  if (socket == nullptr) return counters_.drop(Drop::icmp_type);
  deliver_udp(*socket, d, info_of(d, local, remote), reply.bytes());
}

}  // namespace ferry::stack

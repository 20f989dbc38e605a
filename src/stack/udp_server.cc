// UDP datagrams in and out; see udp_server.h.
#include "stack/udp_server.h"

#include "udp/datagram.h"

namespace ferry::stack {
namespace {
constexpr Service kOffers[] = {{SocketType::udp, Style::datagram, wire::kProtocolUdp, "udp"}};
}

std::span<const Service> UdpServer::offers() const { return kOffers; }

bool UdpServer::on_datagram(const net::Datagram& d) {
  auto view = udp::receive(d, counters());
  if (!view) return true;
  const Endpoint local{wire::IpAddress::from(d.ip.destination()), view->destination_port()};
  const Endpoint remote{wire::IpAddress::from(d.ip.source()), view->source_port()};
  const DatagramInfo info = info_of(d, local, remote);
  if (d.broadcast) {  // every socket that it matches gets a copy
    PortBucket* bucket = ports_.find(local.port);
    if (bucket == nullptr) return counters().drop(Drop::udp_no_socket), true;
    for (Binding* b = bucket->holders.front(); b != nullptr; b = bucket->holders.next(*b)) {
      DatagramSocket& socket = *static_cast<DatagramSocket*>(b);
      if (!b->bound_address.is_any() && b->bound_address != local.address) continue;
      if (socket.connected && socket.remote != remote) continue;
      deliver(socket, info, view->payload());
    }
    return true;
  }
  if (DatagramSocket* socket = find_socket(local, remote)) {
    deliver(*socket, info, view->payload());
    return true;
  }
  counters().drop(Drop::udp_no_socket);
  network().send_unreachable(now(), d, wire::kPortUnreachable);
  return true;
}

// One of ours, a group, or a broadcast address of one of our networks.
Status UdpServer::check_bindable(const wire::IpAddress& address) const {
  if (check_local_address(address)) return {};
  if (!address.is_v4()) return Errc::address_not_available;
  if (address.v4().is_multicast()) return {};
  for (uint32_t i = 0; i < network().interface_count(); ++i)
    if (net::is_broadcast(*network().interface(i), address.v4())) return {};
  return Errc::address_not_available;
}

// As Linux: without IP_RECVERR only connected sockets hear, and only of what is final.
bool UdpServer::wants_error(const DatagramSocket& socket, const net::IcmpError& error) const {
  return socket.receive_errors || (socket.connected && error.hard);
}

Status UdpServer::send(DatagramSocket& socket, const Call& call) {
  if (call.op != CallOp::send_datagram) return Errc::not_supported;
  Endpoint remote = call.info.remote;
  if (remote.address.is_any() && remote.port == 0) {
    if (!socket.connected) return Errc::destination_required;
    remote = socket.remote;
  }
  if (remote.port == 0) return Errc::invalid;
  remote.address = services().reachable(remote.address);
  if (!remote.address.is_v4()) return Errc::net_unreachable;
  wire::IpAddress wanted = call.info.local.address.is_any() ? socket.bound_address : call.info.local.address;
  if (!wanted.is_v4()) return Errc::address_not_available;
  if (!call.info.local.address.is_any()) {
    if (!network().is_local(wanted.v4())) return Errc::invalid;
  } else if (socket.connected && wanted.is_any()) {
    wanted = socket.local.address;
  } else if (!wanted.is_any() && !network().is_local(wanted.v4())) {
    wanted = {};  // bound to a group: any address of ours
  }
  auto path = network().find_path(remote.address.v4(), wanted.v4());
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
  buf::Packet& packet = services().packet();
  net::Network::begin(packet);
  FERRY_TRY(udp::append_header(packet, ip.source, socket.local.port, ip.destination, remote.port, length));
  if (length > 0) packet.append_part(call.data);
  ++counters().udp_out;
  return network().send(now(), *path, ip, packet);
}

}  // namespace ferry::stack

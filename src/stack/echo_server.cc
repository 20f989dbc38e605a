// Echo requests out, replies in; see echo_server.h.
#include "stack/echo_server.h"

#include "wire/icmp.h"

namespace ferry::stack {
namespace {
constexpr Service kOffers[] = {{SocketType::icmp_echo, Style::datagram, wire::kProtocolIcmp, "icmp"}};
}

std::span<const Service> EchoServer::offers() const { return kOffers; }

Status EchoServer::send(DatagramSocket& socket, const Call& call) {
  if (call.op != CallOp::send_echo) return Errc::not_supported;
  wire::IpAddress remote = call.remote.address;
  if (remote.is_any() && socket.connected) remote = socket.remote.address;
  if (remote.is_any() || !remote.is_v4()) return Errc::destination_required;
  if (call.number < 0 || call.number > UINT16_MAX) return Errc::invalid;
  FERRY_TRY(bind_automatically(socket));
  return network().send_echo(now(), remote.v4(), socket.local.port, static_cast<uint16_t>(call.number), call.data, socket.ttl);
}

bool EchoServer::on_datagram(const net::Datagram& d) {
  auto reply = wire::IcmpView::parse(d.payload());
  if (!reply || reply->type() != wire::kIcmpEchoReply) return false;
  const Endpoint local{wire::IpAddress::from(d.ip.destination()), reply->echo_identifier()};
  const Endpoint remote{wire::IpAddress::from(d.ip.source()), reply->echo_sequence()};
  DatagramSocket* socket = find_socket(local, remote);
  if (socket == nullptr) return false;
  deliver(*socket, info_of(d, local, remote), reply->bytes());
  return true;
}

}  // namespace ferry::stack

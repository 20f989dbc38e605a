// ICMP errors to the socket whose packet they quote (RFC 1122 sections 4.1.3.3 and 4.2.3.9, RFC 5927).
#include "stack/engine.h"

namespace ferry::stack {
namespace {
constexpr uint16_t kOldRouterMtu = 576;  // what to assume when "fragmentation needed" names none (RFC 1191 section 5)
}

void Engine::on_icmp_error(Instant, const net::IcmpError& e) {
  if (e.protocol == wire::kProtocolTcp) {
    Flow* flow = flows_.find(wire::kProtocolTcp, e.local, e.remote);
    if (flow == nullptr || flow->flow_kind != FlowKind::connection) return counters_.drop(Drop::icmp_quote);
    tcp::Connection& c = *static_cast<TcpSocket*>(flow)->connection;
    if (e.type == wire::kIcmpUnreachable && e.code == wire::kFragmentationNeeded) {
      const uint16_t mtu = e.mtu == 0 ? kOldRouterMtu : e.mtu;
      if (mtu > wire::kIpv4HeaderBytes + 20) c.on_path_mss(now_, static_cast<uint16_t>(mtu - wire::kIpv4HeaderBytes - 20), e.sequence);
      return;
    }
    return c.on_icmp_error(now_, e.hard ? tcp::IcmpKind::hard : tcp::IcmpKind::soft, e.error, e.sequence);
  }
  DatagramSocket* socket = nullptr;
  if (e.protocol == wire::kProtocolUdp || e.protocol == wire::kProtocolIcmp)
    socket = find_datagram_socket(e.protocol, e.local, e.remote);
  if (socket == nullptr) return counters_.drop(Drop::icmp_quote);
  // As Linux: without IP_RECVERR only connected sockets hear, and only of what is final. Echo sockets hear all.
  if (socket->type == SocketType::udp && !socket->receive_errors && !(socket->connected && e.hard)) return;
  IcmpError error;
  error.error = e.error;
  error.type = e.type;
  error.code = e.code;
  error.mtu = e.mtu;
  error.remote = e.remote;
  error.from = wire::IpAddress::from(e.from);
  host_.deliver_icmp_error(socket->owner, error);
}

}  // namespace ferry::stack

// ICMP echo as a protocol server: sockets whose port is the identifier, as SOCK_DGRAM sockets of IPPROTO_ICMP in icmp(7). Requests of
// others are answered below (net/).
#pragma once

#include "stack/datagram_server.h"

namespace ferry::stack {

class EchoServer final : public DatagramServer {
 public:
  explicit EchoServer(Rng& rng) : DatagramServer(SocketType::icmp_echo, wire::kProtocolIcmp, 1, 65535, draw_key(rng)) {}
  std::span<const Service> offers() const override;
  // An echo reply.
  bool on_datagram(const net::Datagram& datagram) override;

 private:
  Status send(DatagramSocket& socket, const Call& call) override;
  bool is_peer(const DatagramSocket& socket, const Endpoint& remote) const override {
    return socket.remote.address == remote.address;
  }
};

}  // namespace ferry::stack

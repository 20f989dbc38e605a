// UDP as a protocol server (RFC 768, 1122 section 4.1; udp(7)).
#pragma once

#include "stack/datagram_server.h"

namespace ferry::stack {

class UdpServer final : public DatagramServer {
 public:
  UdpServer(const Config& config, Rng& rng)
      : DatagramServer(SocketType::udp, wire::kProtocolUdp, config.ephemeral_first, config.ephemeral_last, draw_key(rng)) {}
  std::span<const Service> offers() const override;
  bool on_datagram(const net::Datagram& datagram) override;

 private:
  Status send(DatagramSocket& socket, const Call& call) override;
  Status check_bindable(const wire::IpAddress& address) const override;
  bool wants_error(const DatagramSocket& socket, const net::IcmpError& error) const override;
  bool is_flow(const net::Path& path) const override { return !path.broadcast && !path.multicast; }
};

}  // namespace ferry::stack

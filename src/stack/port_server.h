// What servers have in common whose sockets hold local ports and have a remote end: binding, flows, and the options of any such socket.
//
//   PortSocket ---- Binding (holds a local port, port_table.h)
//              \--- Flow    (has a remote end, flow_table.h)
//
// Owns: the tables of one protocol. Does not own: the sockets.
#pragma once

#include "stack/flow_table.h"
#include "stack/port_table.h"
#include "stack/services.h"

namespace ferry::stack {

struct PortSocket : Socket, Binding, Flow {
  explicit PortSocket(SocketType t) : Socket(t) {}
  bool broadcast = false, dont_fragment = false, receive_errors = false, oob_inline = false;
  bool port_granted = false;                     // BindFlag
  uint8_t tos = 0, ttl = 64;
  uint32_t receive_buffer = 0, send_buffer = 0;  // datagram sockets: the host's to respect; 0: its default
};

class PortServer : public ProtocolServer {
 protected:
  PortServer(uint16_t first_port, uint16_t last_port, const SipKey& flow_key)
      : ports_(first_port, last_port), flows_(flow_key) {}
  ~PortServer() = default;

  CallResult bind(PortSocket& socket, const Call& call);
  // The options that are the same for every such socket. False: another one.
  bool set_common_option(PortSocket& socket, Option option, int64_t value, Status& outcome);
  bool common_option(const PortSocket& socket, Option option, int64_t& value) const;
  // Fills in what every such socket has.
  void describe_common(const PortSocket& socket, SocketInfo& info) const;
  // An address that a socket may be bound to: none in particular, one of ours.
  Status check_local_address(const wire::IpAddress& address) const;
  uint32_t random_start() { return static_cast<uint32_t>(services().rng().next() >> 33); }
  // Datagram servers: groups and broadcast addresses as well; a bound socket receives.
  virtual Status check_bindable(const wire::IpAddress& address) const { return check_local_address(address); }
  virtual void on_bound(PortSocket& /*socket*/) {}

  Instant now() const { return services().now(); }
  Counters& counters() const { return services().counters(); }
  Host& host() const { return services().host(); }
  net::Network& network() const { return services().network(); }

  PortTable ports_;
  FlowTable flows_;
};

SipKey draw_key(Rng& rng);

}  // namespace ferry::stack

// Binding and the common options; see port_server.h.
#include "stack/port_server.h"

namespace ferry::stack {

SipKey draw_key(Rng& rng) {
  const uint64_t k0 = rng.next();
  return {k0, rng.next()};
}

Status PortServer::check_local_address(const wire::IpAddress& address) const {
  if (address.is_any()) return {};
  if (!address.is_v4() || !network().is_local(address.v4())) return Errc::address_not_available;
  return {};
}

CallResult PortServer::bind(PortSocket& socket, const Call& call) {
  if (socket.bound() || socket.flow_kind != FlowKind::none) return failure(Errc::invalid);
  if (auto ok = check_bindable(call.local.address); !ok) return failure(ok.error());
  socket.bound_address = call.local.address;
  uint16_t port = call.local.port;
  Status outcome;
  if (port != 0) {
    socket.port_granted = (call.flags & kBindGranted) != 0;
    outcome = socket.port_granted ? ports_.join(socket, port) : ports_.bind(socket, port);
  } else if (auto chosen = ports_.bind_ephemeral(socket, random_start()); chosen) {
    port = *chosen;
  } else {
    outcome = chosen.error();
  }
  if (!outcome) {
    socket.bound_address = {};
    return failure(outcome.error());
  }
  on_bound(socket);
  socket.local = {call.local.address, port};
  CallResult result;
  result.local = socket.local;
  return result;
}

bool PortServer::set_common_option(PortSocket& socket, Option option, int64_t value, Status& outcome) {
  outcome = {};
  switch (option) {
    case Option::reuse_address: ports_.set_reuse_address(socket, value != 0); return true;
    case Option::reuse_port: ports_.set_reuse_port(socket, value != 0); return true;
    case Option::broadcast: socket.broadcast = value != 0; return true;
    case Option::dont_fragment: socket.dont_fragment = value != 0; return true;
    case Option::receive_errors: socket.receive_errors = value != 0; return true;
    case Option::oob_inline: socket.oob_inline = value != 0; return true;
    case Option::tos:
      if (value < 0 || value > 255) outcome = Errc::invalid;
      else socket.tos = static_cast<uint8_t>(value);
      return true;
    case Option::ttl:
      if (value < 1 || value > 255) outcome = Errc::invalid;
      else socket.ttl = static_cast<uint8_t>(value);
      return true;
    default: return false;
  }
}

bool PortServer::common_option(const PortSocket& socket, Option option, int64_t& value) const {
  switch (option) {
    case Option::reuse_address: value = socket.reuse_address; return true;
    case Option::reuse_port: value = socket.reuse_port; return true;
    case Option::broadcast: value = socket.broadcast; return true;
    case Option::dont_fragment: value = socket.dont_fragment; return true;
    case Option::receive_errors: value = socket.receive_errors; return true;
    case Option::oob_inline: value = socket.oob_inline; return true;
    case Option::tos: value = socket.tos; return true;
    case Option::ttl: value = socket.ttl; return true;
    default: return false;
  }
}

void PortServer::describe_common(const PortSocket& socket, SocketInfo& info) const {
  info.local = socket.local;
  info.remote = socket.remote;
}

}  // namespace ferry::stack

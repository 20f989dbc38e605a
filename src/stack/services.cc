// The numbers of sockets, and their ends; see services.h.
#include "stack/services.h"

namespace ferry::stack {

wire::IpAddress Services::reachable(const wire::IpAddress& address) const {
  if (!address.is_any()) return address;
  const auto loopback = wire::Ipv4Address::of(127, 0, 0, 1);
  if (network_->is_local(loopback)) return wire::IpAddress::from(loopback);
  return network_->interface_count() > 0 ? wire::IpAddress::from(network_->interface(0)->prefix.address) : address;
}

Status Services::add(Socket& socket) {
  auto id = sockets_.add(socket);
  if (!id) return id.error();
  socket.id = *id;
  return {};
}

Status Services::restore(Socket& socket, SocketId id) {
  FERRY_TRY(sockets_.restore(socket, id));
  socket.id = id;
  return {};
}

void Services::forget(Socket& socket) {
  if (socket.id != 0) sockets_.remove(socket.id);
  socket.id = 0;
  socket.id_dead = true;
}

void Services::doom(Socket& socket) {
  forget(socket);
  if (socket.doomed) return;
  socket.doomed = true;
  dead_.push_back(socket);
}

void Services::tell_closed(Socket& socket, uint32_t events) {
  if (socket.told_closed) return;
  socket.told_closed = true;
  if (socket.owner != 0) host_.on_events(socket.owner, events);
}

}  // namespace ferry::stack

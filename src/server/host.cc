#include "server/host.h"

namespace ferry::server {

Status Host::transmit(stack::LinkIndex link, const buf::Packet& packet) {
  if (link >= links_.size() || links_[link] == nullptr) return Errc::net_unreachable;
  if (__builtin_expect(tap_ != nullptr, 0)) tap_->on_sent(link, packet, ctx_.memory);
  return links_[link]->send(packet, ctx_.memory);
}

void Host::on_loop_back(stack::LinkIndex link, const buf::Packet& packet) {
  if (__builtin_expect(tap_ != nullptr, 0)) tap_->on_sent(link, packet, ctx_.memory);
}

Result<buf::IoDesc> Host::place(stack::Owner owner, ByteSpan payload) {
  if (buf::IoDesc there = early_.take(owner, payload); !there.empty()) return there;
  Socket* s = sockets_.find(owner);
  return s != nullptr ? s->place(payload) : Result<buf::IoDesc>(Errc::bad_socket);
}

void Host::discard(stack::Owner owner, const buf::IoDesc& d) {
  if (Socket* s = sockets_.find(owner)) s->discard(d);
}

void Host::deliver(stack::Owner owner, const buf::IoDesc& d) {
  if (Socket* s = sockets_.find(owner)) s->deliver(d);
}

Status Host::deliver_datagram(stack::Owner owner, const stack::DatagramInfo& info, ByteSpan payload) {
  if ((owner & kEchoOwner) != 0) {
    if (echo_ != nullptr) echo_->on_echo_reply(owner, info, payload);
    return {};
  }
  Socket* s = sockets_.find(owner);
  return s != nullptr ? s->deliver_datagram(info, payload) : Status(Errc::bad_socket);
}

Status Host::deliver_message(stack::Owner owner, const stack::MessageInfo& info, ByteSpan payload) {
  Socket* s = sockets_.find(owner);
  return s != nullptr ? s->deliver_message(info, payload) : Status(Errc::bad_socket);
}

void Host::deliver_icmp_error(stack::Owner owner, const stack::IcmpError& error) {
  if ((owner & kEchoOwner) != 0) {
    if (echo_ != nullptr) echo_->on_echo_error(owner, error.error);
  } else if (Socket* s = sockets_.find(owner)) {
    s->deliver_icmp_error(error);
  }
}

void Host::on_completed(stack::Owner owner, uint32_t bytes) {
  if (Socket* s = sockets_.find(owner)) s->on_completed(bytes);
}

void Host::on_events(stack::Owner owner, uint32_t events) {
  if (Socket* s = sockets_.find(owner)) s->on_events(events);
}

stack::Owner Host::on_incoming(stack::Owner listener, stack::SocketId child, const stack::Endpoint& local,
                               const stack::Endpoint& remote) {
  Socket* l = sockets_.find(listener);
  if (l == nullptr) return 0;
  // What is taken out of a socket with many peers has one.
  Socket& s = sockets_.create(l->has_many_peers() ? stack::SocketType::sctp : l->type());
  s.set_id(child);
  s.set_pending();
  s.set_addresses(local, remote);
  sockets_.add_child(s, child);
  sockets_.charge_pending(s, *l);
  return s.owner();
}

void Host::on_acceptable(stack::Owner listener) {
  Socket* s = sockets_.find(listener);
  if (s == nullptr) return;
  s->announce_acceptable();
  s->on_acceptable();
}

void Host::on_address(stack::LinkIndex, bool usable, const wire::MacAddress& other) {
  address_state_ = usable ? AddressState::usable : AddressState::taken;
  holder_ = other;
}

}  // namespace ferry::server

#include "support/courier_server.h"

#include <algorithm>

namespace ferry::support {
namespace {

using stack::bit;
using stack::CallOp;
using stack::Event;

constexpr stack::Service kOffers[] = {{kCourier, stack::Style::stream, CourierServer::kProtocol, "courier"}};
constexpr uint8_t kData = 1, kAcknowledgement = 2;
constexpr Duration kPatience = Duration::ms(200);

CourierSocket& mine(stack::Socket& s) { return static_cast<CourierSocket&>(s); }

}  // namespace

std::span<const stack::Service> CourierServer::offers() const { return kOffers; }

Result<stack::Socket*> CourierServer::make_socket(const stack::Call&) {
  sockets_.push_back(new CourierSocket);
  return sockets_.back();
}

void CourierServer::destroy(stack::Socket& socket, bool) {
  services().forget(socket);
  std::erase(sockets_, &mine(socket));
  delete &mine(socket);
}

stack::CallResult CourierServer::call(stack::Socket& any, const stack::Call& call) {
  CourierSocket& s = mine(any);
  stack::CallResult result;
  switch (call.op) {
    case CallOp::bind:
      s.local = result.local = call.local;
      return result;
    case CallOp::connect:
      s.remote = result.remote = call.remote;
      services().host().on_events(s.owner, bit(Event::established));
      return result;
    case CallOp::send: return stack::failure(send(s, call.data));
    case CallOp::consumed:
      if (call.number < 0 || call.number > s.unread) return stack::failure(Errc::invalid);
      s.unread -= static_cast<uint32_t>(call.number);
      return result;
    case CallOp::close:
    case CallOp::abort: {
      uint32_t dropped = 0;
      for (const buf::IoDesc& d : s.output) dropped += d.length;
      s.output.clear();
      s.resend = Instant::never();
      if (dropped > 0) services().host().on_completed(s.owner, dropped);
      services().tell_closed(s, bit(Event::closed));
      services().doom(s);
      return result;
    }
    default: return stack::failure(Errc::not_supported);
  }
}

uint32_t CourierServer::send_space(const stack::Socket& socket) const {
  const auto& s = static_cast<const CourierSocket&>(socket);
  return s.remote.port == 0 || s.output.size() >= kMaxQueue ? 0 : UINT32_MAX;
}

// Reference: the descriptor is kept, its bytes stay with their owner.
Errc CourierServer::send(CourierSocket& s, const buf::IoDesc& data) {
  if (s.remote.port == 0) return Errc::not_connected;
  if (s.output.size() >= kMaxQueue) return Errc::again;
  s.output.push_back(data);
  if (s.in_flight == 0) transmit(s);
  return Errc::ok;
}

// Allocate room for a header, concatenate what waits behind it, trim that to one packet, send it down.
void CourierServer::transmit(CourierSocket& s) {
  buf::Packet& packet = services().packet();
  net::Network::begin(packet);
  packet.append_header(kHeader);
  s.in_flight = 0;
  for (const buf::IoDesc& d : s.output) {
    const buf::IoDesc part = d.length + s.in_flight > kMaxPayload ? d.prefix(kMaxPayload - s.in_flight) : d;
    if (part.empty() || !packet.append_part(part)) break;
    s.in_flight += part.length;
  }
  s.resend = services().now() + kPatience;
  (void)emit(s, kData, s.turn, packet);  // what cannot be sent is lost, and sent again
}

Status CourierServer::emit(const CourierSocket& s, uint8_t kind, uint8_t turn, buf::Packet& packet) {
  MutableByteSpan header(packet.headers.data() + net::Network::kTransportOffset, kHeader);
  store_be16(header, 0, s.local.port);
  store_be16(header, 2, s.remote.port);
  header[4] = std::byte{kind};
  header[5] = std::byte{turn};
  auto path = services().network().find_path(s.remote.address.v4());
  if (!path) return path.error();
  const net::Ipv4Header ip{path->source, s.remote.address.v4(), kProtocol};
  return services().network().send(services().now(), *path, ip, packet);
}

bool CourierServer::on_datagram(const net::Datagram& datagram) {
  const ByteSpan bytes = datagram.payload();
  if (bytes.size() < kHeader) return true;
  const uint16_t from = load_be16(bytes, 0), to = load_be16(bytes, 2);
  auto found = std::find_if(sockets_.begin(), sockets_.end(), [&](const CourierSocket* s) {
    return s->local.port == to && s->remote == wire::Endpoint{wire::IpAddress::from(datagram.ip.source()), from};
  });
  if (found == sockets_.end()) return false;
  const uint8_t kind = static_cast<uint8_t>(bytes[4]), turn = static_cast<uint8_t>(bytes[5]);
  if (kind == kAcknowledgement) on_acknowledged(**found, turn);
  else if (kind == kData && on_data(**found, turn, bytes.subspan(kHeader))) {
    buf::Packet& packet = services().packet();
    net::Network::begin(packet);
    packet.append_header(kHeader);
    (void)emit(**found, kAcknowledgement, turn, packet);
  }
  return true;
}

// Release: the owner may use its memory again.
void CourierServer::on_acknowledged(CourierSocket& s, uint8_t turn) {
  if (turn != s.turn || s.in_flight == 0) return;
  const uint32_t done = s.in_flight;
  for (uint32_t left = done; left > 0;) {
    buf::IoDesc& first = s.output.front();
    const uint32_t n = std::min(left, first.length);
    first = first.without_prefix(n);
    left -= n;
    if (first.empty()) s.output.pop_front();
  }
  s.in_flight = 0;
  s.turn ^= 1;
  s.resend = Instant::never();
  services().host().on_completed(s.owner, done);
  if (!s.output.empty()) transmit(s);
}

// Allocate in the owner's memory, deliver up. False: no room; the peer will try again.
bool CourierServer::on_data(CourierSocket& s, uint8_t turn, ByteSpan payload) {
  if (turn != s.expected) return true;  // its acknowledgement was lost
  if (s.unread + payload.size() > kWindow) return false;
  auto placed = services().host().place(s.owner, payload);
  if (!placed) return false;
  s.expected ^= 1;
  s.unread += placed->length;
  services().host().deliver(s.owner, *placed);
  services().host().on_events(s.owner, bit(Event::readable));
  return true;
}

void CourierServer::on_timer() {
  for (CourierSocket* s : sockets_)
    if (s->resend <= services().now()) transmit(*s);
}

Instant CourierServer::next_deadline() const {
  Instant at = Instant::never();
  for (const CourierSocket* s : sockets_) at = earlier(at, s->resend);
  return at;
}

void CourierServer::describe(const stack::Socket& socket, Instant, stack::SocketInfo& info) const {
  const auto& s = static_cast<const CourierSocket&>(socket);
  info.local = s.local;
  info.remote = s.remote;
  info.receive_queue = s.unread;
  for (const buf::IoDesc& d : s.output) info.send_queue += d.length;
}

}  // namespace ferry::support

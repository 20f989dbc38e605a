// Birth and death, the dispatch of inputs to servers, packets to ourselves; see engine.h.
#include "stack/engine.h"

#include "port/api/alloc.h"
#include "port/api/log.h"
#include "stack/record.h"

namespace ferry::stack {
namespace {
// Packets to ourselves that one input may carry along; what is left waits for the next timer input, which is due at once.
constexpr uint32_t kLoopbackBudget = 512;
}  // namespace

Engine::Engine(const Config& config, stack::Host& host)
    : host_(host),
      services_(config, host),
      loopback_(config.loopback_bytes),
      network_(*this, host, services_.counters_, services_.rng_.next()),
      tcp_(config, services_.rng_),
      udp_(config, services_.rng_),
      echo_(services_.rng_) {
  services_.network_ = &network_;
  if (config.own_tcp) (void)add_server(tcp_);  // cannot fail: the tables are empty
  (void)add_server(udp_);
  (void)add_server(echo_);
}

// Says nothing to anybody: what is not saved is lost, as when the process is killed.
Engine::~Engine() {
  while (Socket* s = services_.dead_.pop_front()) s->server->destroy(*s, true);
  for (uint32_t i = 0; i < services_.slot_count(); ++i)
    if (Socket* s = services_.at(i)) s->server->destroy(*s, true);
}

Status Engine::add_server(ProtocolServer& server) {
  if (server_count_ == kMaxServers) return Errc::too_many;
  for (const Service& s : server.offers()) {
    if (static_cast<uint32_t>(s.type) >= kMaxSocketTypes) return Errc::invalid;
    ProtocolServer* other = by_protocol_[s.protocol];
    if (server_of(s.type) != nullptr || (s.protocol != 0 && other != nullptr)) return Errc::address_in_use;
  }
  for (const Service& s : server.offers()) {
    by_type_[static_cast<uint32_t>(s.type)] = &server;
    if (s.protocol != 0) by_protocol_[s.protocol] = &server;
  }
  servers_[server_count_++] = &server;
  server.attach(services_);
  return {};
}

CallResult Engine::handle(const Input& input) {
  if (input.now > services_.now_) services_.now_ = input.now;
  const Instant now = services_.now_;
  CallResult result;
  switch (input.kind) {
    case InputKind::frame: network_.on_frame(now, input.link, input.frame); break;
    case InputKind::timer: on_timers(); break;
    case InputKind::call: result = on_call(*input.call); break;
    case InputKind::interface: result = add_interface(*input.interface); break;
    case InputKind::route: result.error = add_route(*input.route).error(); break;
    case InputKind::restore: result = restore(input.record); break;
  }
  if (!services_.dead_.empty()) bury();
  // Restoring comes in many inputs: packets to ourselves wait until their receivers are there as well.
  if (!loopback_.empty() && input.kind != InputKind::restore) drain_loopback();
  return result;
}

Instant Engine::next_deadline() const {
  if (!loopback_.empty()) return services_.now_;
  Instant at = network_.next_deadline();
  for (uint32_t i = 0; i < server_count_; ++i) at = earlier(at, servers_[i]->next_deadline());
  return at;
}

void Engine::on_timers() {
  network_.on_timer(services_.now_);
  for (uint32_t i = 0; i < server_count_; ++i)
    if (servers_[i]->next_deadline() <= services_.now_) servers_[i]->on_timer();
}

// One at a time and never from within a connection: so packets to ourselves nest no calls.
void Engine::drain_loopback() {
  for (uint32_t budget = kLoopbackBudget; budget > 0 && !loopback_.empty(); --budget) {
    const LoopbackQueue::Entry entry = loopback_.front();
    network_.on_loopback(services_.now_, entry.link, entry.frame);
    loopback_.pop();
    if (!services_.dead_.empty()) bury();
  }
}

void Engine::bury() {
  while (Socket* s = services_.dead_.pop_front()) s->server->destroy(*s, false);
}

CallResult Engine::on_call(const Call& call) {
  if (call.op == CallOp::open) return open(call);
  Socket* socket = services_.find(call.socket);
  if (socket == nullptr) return failure(Errc::bad_socket);
  if (call.op != CallOp::set_owner) return socket->server->call(*socket, call);
  socket->owner = call.owner;
  return {};
}

CallResult Engine::open(const Call& call) {
  ProtocolServer* server = server_of(call.type);
  if (server == nullptr) return failure(Errc::not_supported);
  if (call.owner == 0) return failure(Errc::invalid);
  if (services_.is_full()) return failure(Errc::too_many);
  auto made = server->make_socket(call);
  if (!made) return failure(made.error());
  Socket& socket = **made;
  socket.server = server;
  if (auto numbered = services_.add(socket); !numbered) {
    server->destroy(socket, true);
    return failure(numbered.error());
  }
  socket.owner = call.owner;
  CallResult result;
  result.socket = socket.id;
  return result;
}

CallResult Engine::restore(ByteSpan record) {
  RecordReader in(record);
  if (in.u32() != kRecordMagic) return failure(Errc::malformed);
  if (in.u16() != kRecordVersion) return failure(Errc::version_mismatch);
  const auto type = static_cast<SocketType>(in.u8());
  ProtocolServer* server = server_of(type);
  if (!in.ok() || server == nullptr) return failure(Errc::malformed);
  CallResult result;
  if (auto id = server->restore(in, type)) result.socket = *id;
  else result.error = id.error();
  return result;
}

CallResult Engine::add_interface(const InterfaceConfig& config) {
  CallResult result;
  net::Interface interface;
  interface.link = network_.interface_count();
  interface.mac = config.mac;
  interface.prefix = config.prefix;
  interface.mtu = config.mtu;
  interface.max_gso = config.max_gso;
  interface.checksum_tx = config.checksum_tx;
  interface.loopback = config.loopback;
  interface.quiet = services_.config().share.index != 0 && !config.loopback;
  result.error = network_.add_interface(services_.now_, interface, config.probe).error();
  if (result.error != Errc::ok) return result;
  interfaces_[interface.link] = config;
  result.socket = interface.link;
  ++services_.path_generation_;
  return result;
}

Status Engine::add_route(const Route& route) {
  ++services_.path_generation_;
  return network_.add_route({route.destination, route.gateway, route.link});
}

Status Engine::transmit(LinkIndex link, const buf::Packet& frame) { return host_.transmit(link, frame); }

Status Engine::loop_back(LinkIndex link, const buf::Packet& packet) {
  host_.on_loop_back(link, packet);
  return loopback_.push(link, packet, host_);
}

bool Engine::on_datagram(Instant, const net::Datagram& datagram) {
  ProtocolServer* server = by_protocol_[datagram.ip.protocol()];
  return server != nullptr && server->on_datagram(datagram);
}

void Engine::on_icmp_error(Instant, const net::IcmpError& error) {
  if (ProtocolServer* server = by_protocol_[error.protocol]) return server->on_icmp_error(error);
  services_.counters_.drop(Drop::icmp_quote);
}

void Engine::on_echo_reply(Instant, const net::Datagram& datagram, const wire::IcmpView&) {
  ProtocolServer* server = by_protocol_[wire::kProtocolIcmp];
  if (server == nullptr || !server->on_datagram(datagram)) services_.counters_.drop(Drop::icmp_type);
}

void Engine::on_address(LinkIndex link, bool usable, const wire::MacAddress& other) {
  host_.on_address(link, usable, other);
  if (usable) return;
  port::log(port::LogLevel::error, "the address of link %u is in use by %x:%x:%x:%x:%x:%x", link,
            unsigned{other.octets[0]}, unsigned{other.octets[1]}, unsigned{other.octets[2]}, unsigned{other.octets[3]},
            unsigned{other.octets[4]}, unsigned{other.octets[5]});
}

}  // namespace ferry::stack

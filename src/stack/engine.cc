// Birth and death, the dispatch of inputs, timers, packets to ourselves; see engine.h.
#include "stack/engine.h"

#include "port/api/alloc.h"
#include "port/api/log.h"
#include "udp/datagram.h"

namespace ferry::stack {
namespace {

// Packets to ourselves that one input may carry along; what is left waits for the next timer input, which is due at once.
constexpr uint32_t kLoopbackBudget = 512;

SipKey draw_key(Rng& rng) {
  const uint64_t k0 = rng.next();
  return {k0, rng.next()};
}

}  // namespace

Engine::Engine(const Config& config, stack::Host& host)
    : host_(host),
      config_(config),
      rng_(config.seed),
      isn_key_(draw_key(rng_)),
      timestamp_key_(draw_key(rng_)),
      port_key_(draw_key(rng_)),
      sockets_(config.max_sockets),
      flows_(draw_key(rng_)),
      tcp_ports_(config.ephemeral_first, config.ephemeral_last),
      udp_ports_(config.ephemeral_first, config.ephemeral_last),
      echo_ports_(1, 65535),
      loopback_(config.loopback_bytes),
      network_(*this, host, counters_, rng_.next()) {}

// Says nothing to anybody: what is not saved is lost, as when the process is killed.
Engine::~Engine() {
  while (Socket* s = dead_.pop_front()) drop_socket(*s);
  for (uint32_t i = 0; i < sockets_.slot_count(); ++i)
    if (Socket* s = sockets_.at(i)) drop_socket(*s);
  while (TcpSocket* s = orphans_.front()) drop_socket(*s);
  while (TimeWaitEntry* entry = time_waits_.front()) forget_time_wait(*entry);
}

CallResult Engine::handle(const Input& input) {
  if (input.now > now_) now_ = input.now;
  CallResult result;
  switch (input.kind) {
    case InputKind::frame: network_.on_frame(now_, input.link, input.frame); break;
    case InputKind::timer: on_timers(); break;
    case InputKind::call: result = on_call(*input.call); break;
    case InputKind::interface: result = add_interface(*input.interface); break;
    case InputKind::route: result.error = add_route(*input.route).error(); break;
    case InputKind::restore: result = restore(input.record); break;
  }
  if (!dead_.empty()) bury();
  // Restoring comes in many inputs: packets to ourselves wait until their receivers are there as well.
  if (!loopback_.empty() && input.kind != InputKind::restore) drain_loopback();
  return result;
}

Instant Engine::next_deadline() const {
  if (!loopback_.empty()) return now_;
  Instant at = earlier(timers_.next_deadline(), network_.next_deadline());
  if (!time_waits_.empty()) at = earlier(at, const_cast<Engine*>(this)->time_waits_.front()->state.expires);
  return at;
}

void Engine::on_timers() {
  network_.on_timer(now_);
  expire_time_waits();
  for (uint32_t budget = timers_.size(); budget > 0; --budget) {
    TimerNode* node = timers_.first();
    if (node == nullptr || node->at > now_) break;
    timers_.remove(*node);
    TcpSocket& socket = *static_cast<TcpSocket*>(node);
    socket.connection->on_timer(now_);
    if (socket.connection != nullptr) timers_.set(socket, socket.connection->next_deadline());
  }
}

// One at a time and never from within a connection: so packets to ourselves nest no calls.
void Engine::drain_loopback() {
  for (uint32_t budget = kLoopbackBudget; budget > 0 && !loopback_.empty(); --budget) {
    const LoopbackQueue::Entry entry = loopback_.front();
    network_.on_loopback(now_, entry.link, entry.frame);
    loopback_.pop();
    if (!dead_.empty()) bury();
  }
}

// Takes the socket's number away and marks it for destruction.
void Engine::doom(Socket& socket) {
  if (socket.id != 0) sockets_.remove(socket.id);
  socket.id = 0;
  socket.id_dead = true;
  if (socket.doomed) return;
  socket.doomed = true;
  dead_.push_back(socket);
}

void Engine::bury() {
  while (Socket* s = dead_.front()) {
    if (s->type == SocketType::tcp) {
      TcpSocket& t = *static_cast<TcpSocket*>(s);
      t.muted = true;
      if (t.connection != nullptr) t.connection->abort(now_);  // a child that the host refused
    }
    dead_.erase(*s);
    drop_socket(*s);
  }
}

// Frees the socket and everything that refers to it.
void Engine::drop_socket(Socket& socket) {
  if (socket.id != 0) sockets_.remove(socket.id);
  flows_.erase(socket);
  ports_of(socket).release(socket);
  --socket_count_;
  if (socket.type != SocketType::tcp) return ferry::destroy(static_cast<DatagramSocket*>(&socket));
  TcpSocket& t = static_cast<TcpSocket&>(socket);
  unqueue(t);
  timers_.remove(t);
  if (t.connection != nullptr) {
    ferry::destroy(t.connection);
    --connection_count_;
  }
  if (t.queues != nullptr) {  // only when the whole stack goes: else the queues were emptied before
    for (List<TcpSocket, QueueTag>* queue : {&t.queues->half_open, &t.queues->waiting}) {
      while (TcpSocket* child = queue->pop_front()) {
        child->parent = nullptr;
        child->place = Place::none;
      }
    }
    ferry::destroy(t.queues);
  }
  ferry::destroy(&t);
}

Status Engine::reserve_connection() { return timers_.reserve(connection_count_ + 1); }

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
  result.error = network_.add_interface(now_, interface, config.probe).error();
  if (result.error != Errc::ok) return result;
  interfaces_[interface.link] = config;
  result.socket = interface.link;
  ++path_generation_;
  return result;
}

Status Engine::add_route(const Route& route) {
  ++path_generation_;
  return network_.add_route({route.destination, route.gateway, route.link});
}

Status Engine::transmit(LinkIndex link, const buf::Packet& frame) { return host_.transmit(link, frame); }

Status Engine::loop_back(LinkIndex link, const buf::Packet& packet) { return loopback_.push(link, packet, host_); }

bool Engine::on_datagram(Instant, const net::Datagram& datagram) {
  switch (datagram.ip.protocol()) {
    case wire::kProtocolTcp: on_tcp(datagram); return true;
    case wire::kProtocolUdp: on_udp(datagram); return true;
    default: return false;
  }
}

void Engine::on_address(LinkIndex link, bool usable, const wire::MacAddress& other) {
  host_.on_address(link, usable, other);
  if (usable) return;
  port::log(port::LogLevel::error, "the address of link %u is in use by %x:%x:%x:%x:%x:%x", link,
            unsigned{other.octets[0]}, unsigned{other.octets[1]}, unsigned{other.octets[2]}, unsigned{other.octets[3]},
            unsigned{other.octets[4]}, unsigned{other.octets[5]});
}

}  // namespace ferry::stack

// What the stack tells about itself: mostly what its servers tell.
#include "port/api/alloc.h"
#include "stack/engine.h"

namespace ferry::stack {

const Service* Engine::service(SocketType type) const {
  const ProtocolServer* server = server_of(type);
  if (server == nullptr) return nullptr;
  for (const Service& s : server->offers())
    if (s.type == type) return &s;
  return nullptr;
}

SocketInfo Engine::describe(const Socket& socket, Instant now) const {
  SocketInfo info;
  info.socket = socket.id;
  info.owner = socket.id_dead ? 0 : socket.owner;
  info.type = static_cast<uint8_t>(socket.type);
  socket.server->describe(socket, now, info);
  return info;
}

Result<SocketInfo> Engine::socket_info(SocketId id, Instant now) const {
  const Socket* socket = services_.find(id);
  if (socket == nullptr) return Errc::bad_socket;
  return describe(*socket, now);
}

void Engine::for_each_socket(SocketVisitor& visitor, Instant now) const {
  for (uint32_t i = 0; i < services_.slot_count(); ++i)
    if (const Socket* socket = services_.at(i)) visitor.on_socket(describe(*socket, now));
  for (uint32_t i = 0; i < server_count_; ++i) servers_[i]->for_each_unnumbered(visitor, now);
}

void Engine::for_each_counter(CounterVisitor& visitor) const {
  uint64_t sockets = services_.count();
  for (uint32_t i = 0; i < server_count_; ++i) sockets += servers_[i]->unnumbered_count();
  visitor.on_counter("sockets", sockets);
  visitor.on_counter("loopback_bytes_queued", loopback_.used());
  for (uint32_t i = 0; i < server_count_; ++i) servers_[i]->for_each_counter(visitor);
  const Counters& counters = services_.counters_;
  counters.for_each([&](const char* name, const uint64_t& value) {
    // TCP tells it together with what its living connections have.
    if (&value != &counters.tcp_retransmits) visitor.on_counter(name, value);
  });
}

void Engine::for_each_neighbor(NeighborVisitor& visitor) const {
  network_.for_each_neighbor([&](LinkIndex link, const net::Neighbor& n) {
    NeighborInfo info;
    info.link = link;
    info.address = n.address;
    info.mac = n.mac;
    info.resolved = n.has_mac();
    visitor.on_neighbor(info);
  });
}

const InterfaceConfig* Engine::interface(LinkIndex link) const {
  return link < network_.interface_count() ? &interfaces_[link] : nullptr;
}

Result<tcp::TcpInfo> Engine::tcp_info(SocketId id, Instant now) const {
  const Socket* socket = services_.find(id);
  if (socket == nullptr) return Errc::bad_socket;
  return socket->server->tcp_info(*socket, now);
}

Result<Owner> Engine::twin(SocketId id) const {
  const Socket* socket = services_.find(id);
  if (socket == nullptr) return Errc::bad_socket;
  return socket->server->twin(*socket);
}

uint32_t Engine::send_space(SocketId id) const {
  const Socket* socket = services_.find(id);
  return socket == nullptr ? 0 : socket->server->send_space(*socket);
}

Result<int64_t> Engine::option(SocketId id, Option option) const {
  const Socket* socket = services_.find(id);
  if (socket == nullptr) return Errc::bad_socket;
  return socket->server->option(*socket, option);
}

Result<size_t> Engine::protocol_option(SocketId id, int name, MutableByteSpan value, size_t length) const {
  const Socket* socket = services_.find(id);
  if (socket == nullptr) return Errc::bad_socket;
  return socket->server->protocol_option(*socket, name, value, length);
}

Result<size_t> Engine::save(SocketId id, MutableByteSpan out) const {
  const Socket* socket = services_.find(id);
  if (socket == nullptr) return Errc::bad_socket;
  return socket->server->save(*socket, out);
}

Status Engine::for_each_record(Stack::RecordSink& sink) const {
  std::byte* memory = static_cast<std::byte*>(port::allocate(kMaxRecordBytes));
  if (memory == nullptr) return Errc::no_memory;
  Status outcome;
  for (uint32_t i = 0; i < server_count_; ++i)
    if (auto told = servers_[i]->for_each_record(sink, MutableByteSpan(memory, kMaxRecordBytes)); !told) outcome = told;
  port::release(memory);
  return outcome;
}

}  // namespace ferry::stack

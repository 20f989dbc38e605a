// The inside of a Stack: the IPC's side of the protocol servers. Every input is dispatched to the network or to the server whose socket,
// protocol or time it is.
//
//   frame --> net::Network --> on_datagram --> the server of the protocol      call --> open, or the server of the socket
//                                                                              timer --> network, every server that is due
//
// Owns: the network, Ferry's own servers, packets to ourselves. Does not own: other servers, protocol rules.
#pragma once

#include "base/counters.h"
#include "net/network.h"
#include "stack/echo_server.h"
#include "stack/loopback_queue.h"
#include "stack/services.h"
#include "stack/stack.h"
#include "stack/tcp_server.h"
#include "stack/udp_server.h"

namespace ferry::stack {

class Engine final : public net::NetworkHost {
 public:
  Engine(const Config& config, stack::Host& host);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  CallResult handle(const Input& input);
  Instant next_deadline() const;
  Status add_server(ProtocolServer& server);

  // --- queries.cc ---
  const Service* service(SocketType type) const;
  Result<size_t> save(SocketId socket, MutableByteSpan out) const;
  Status for_each_record(Stack::RecordSink& sink) const;
  void for_each_socket(SocketVisitor& visitor, Instant now) const;
  void for_each_counter(CounterVisitor& visitor) const;
  void for_each_neighbor(NeighborVisitor& visitor) const;
  uint32_t interface_count() const { return network_.interface_count(); }
  const InterfaceConfig* interface(LinkIndex link) const;
  Result<SocketInfo> socket_info(SocketId socket, Instant now) const;
  Result<tcp::TcpInfo> tcp_info(SocketId socket, Instant now) const;
  uint32_t send_space(SocketId socket) const;
  Result<int64_t> option(SocketId socket, Option option) const;
  Result<size_t> protocol_option(SocketId socket, int name, MutableByteSpan value, size_t length) const;
  Result<PayloadOwner> payload_owner(LinkIndex link, const buf::Frame& head, uint32_t frame_length) const;  // early_demux.cc
  Result<Owner> twin(SocketId socket) const;
  bool serves(wire::Ipv4Address destination) const { return network_.find_path(destination).ok(); }

 private:
  static constexpr uint32_t kMaxServers = 8;

  // engine.cc
  void on_timers();
  void drain_loopback();
  void bury();
  CallResult on_call(const Call& call);
  CallResult open(const Call& call);
  CallResult add_interface(const InterfaceConfig& interface);
  Status add_route(const Route& route);
  CallResult restore(ByteSpan record);
  SocketInfo describe(const Socket& socket, Instant now) const;
  ProtocolServer* server_of(SocketType type) const {
    const auto index = static_cast<uint32_t>(type);
    return index < kMaxSocketTypes ? by_type_[index] : nullptr;
  }

  // net::NetworkHost
  Status transmit(LinkIndex link, const buf::Packet& frame) override;
  Status loop_back(LinkIndex link, const buf::Packet& packet) override;
  bool on_datagram(Instant now, const net::Datagram& datagram) override;
  void on_icmp_error(Instant now, const net::IcmpError& error) override;
  void on_echo_reply(Instant now, const net::Datagram& datagram, const wire::IcmpView& reply) override;
  void on_address(LinkIndex link, bool usable, const wire::MacAddress& other) override;

  stack::Host& host_;
  Services services_;
  LoopbackQueue loopback_;
  net::Network network_;
  TcpServer tcp_;
  UdpServer udp_;
  EchoServer echo_;
  ProtocolServer* servers_[kMaxServers] = {};
  uint32_t server_count_ = 0;
  ProtocolServer* by_type_[kMaxSocketTypes] = {};
  ProtocolServer* by_protocol_[256] = {};
  InterfaceConfig interfaces_[net::Network::kMaxInterfaces];
};

}  // namespace ferry::stack

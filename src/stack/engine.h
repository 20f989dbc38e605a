// The inside of a Stack: all tables, and how inputs, timers and calls pass through them.
//
//   frame --> net::Network --> on_datagram --> tcp_input.cc --> tcp::Connection --> tcp_output.cc --> net::Network --> Host::transmit
//                                         \--> udp.cc, icmp.cc                  \-> tcp_events.cc --> Host
//   call  --> calls.cc --> tcp_calls.cc, udp.cc            timer --> engine.cc
//
// Owns: every socket and table. Destruction of sockets and connections waits for the end of the input (bury()), because a connection may
// end in the middle of any call. Does not own: protocol rules (tcp/, net/, udp/).
#pragma once

#include "base/counters.h"
#include "base/rng.h"
#include "net/network.h"
#include "stack/flow_table.h"
#include "stack/loopback_queue.h"
#include "stack/port_table.h"
#include "stack/socket.h"
#include "stack/socket_table.h"
#include "stack/stack.h"
#include "stack/timer_heap.h"

namespace ferry::stack {

class RecordReader;

class Engine final : public tcp::Host, public net::NetworkHost {
 public:
  Engine(const Config& config, stack::Host& host);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  CallResult handle(const Input& input);
  Instant next_deadline() const;

  // --- queries.cc, save.cc ---
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
  Result<PayloadOwner> payload_owner(LinkIndex link, const buf::Frame& head, uint32_t frame_length) const;  // early_demux.cc
  bool serves(wire::Ipv4Address destination) const { return network_.find_path(destination).ok(); }

 private:
  // engine.cc
  void on_timers();
  void drain_loopback();
  void bury();
  void doom(Socket& socket);
  void drop_socket(Socket& socket);
  CallResult add_interface(const InterfaceConfig& interface);
  Status add_route(const Route& route);
  Status reserve_connection();
  // Orphans have no number and a bound of their own: peers that keep them alive shut nobody out.
  bool is_full() const { return sockets_.count() >= config_.max_sockets; }

  // net::NetworkHost
  Status transmit(LinkIndex link, const buf::Packet& frame) override;
  Status loop_back(LinkIndex link, const buf::Packet& packet) override;
  bool on_datagram(Instant now, const net::Datagram& datagram) override;
  void on_icmp_error(Instant now, const net::IcmpError& error) override;
  void on_echo_reply(Instant now, const net::Datagram& datagram, const wire::IcmpView& reply) override;
  void on_address(LinkIndex link, bool usable, const wire::MacAddress& other) override;

  // tcp::Host (tcp_output.cc, tcp_events.cc)
  void emit(tcp::Connection& c, const tcp::OutputSegment& segment) override;
  Result<buf::IoDesc> place(tcp::Connection& c, ByteSpan payload) override;
  void discard(tcp::Connection& c, const buf::IoDesc& d) override;
  void deliver(tcp::Connection& c, const buf::IoDesc& d) override;
  void on_completed(tcp::Connection& c, uint32_t bytes) override;
  void on_events(tcp::Connection& c, uint32_t events) override;
  void on_deadline_changed(tcp::Connection& c) override;

  // tcp_input.cc: segments and listeners
  void on_tcp(const net::Datagram& datagram);
  void on_time_wait(TimeWaitEntry& entry, const net::Datagram& datagram, const tcp::InputSegment& segment);
  void on_listener(TcpSocket& listener, const net::Datagram& datagram, const tcp::InputSegment& segment,
                   const Endpoint& local, const Endpoint& remote, tcp::SeqNum least_iss, bool has_least_iss);
  TcpSocket* find_listener(const Endpoint& local, const Endpoint& remote) const;
  bool make_room_for_child(TcpSocket& listener);
  void answer_reset(const net::Datagram& datagram, const tcp::InputSegment& segment, const Endpoint& local,
                    const Endpoint& remote);

  // tcp_output.cc
  void send_segment(const net::Path& path, const Endpoint& local, const Endpoint& remote, uint8_t tos, uint8_t ttl,
                    const tcp::OutputSegment& segment);
  void send_slice(const net::Path& path, const Endpoint& local, const Endpoint& remote, uint8_t tos, uint8_t ttl,
                  const tcp::OutputSegment& segment, uint32_t offset, uint32_t length);
  bool refresh_path(TcpSocket& socket);

  // tcp_events.cc
  bool name_owner(TcpSocket& child);
  void promote(TcpSocket& child);
  void on_connection_closed(TcpSocket& socket, tcp::Connection& c);
  void unqueue(TcpSocket& socket);
  void tell_closed(Socket& socket, uint32_t events);
  void reset_child(TcpSocket& child);
  void enter_time_wait(TcpSocket& socket, tcp::Connection& c);
  void forget_time_wait(TimeWaitEntry& entry);
  void expire_time_waits();

  // calls.cc
  CallResult on_call(const Call& call);
  CallResult open(const Call& call);
  CallResult bind(Socket& socket, const Call& call);
  Status set_option(Socket& socket, Option option, int64_t value);
  CallResult close(Socket& socket);
  PortTable& ports_of(const Socket& socket);
  wire::IpAddress reachable(const wire::IpAddress& address) const;
  uint32_t random_start() { return static_cast<uint32_t>(rng_.next() >> 33); }
  Status check_local_address(const Socket& socket, const wire::IpAddress& address) const;

  // tcp_calls.cc
  CallResult tcp_call(TcpSocket& socket, const Call& call);
  Status listen(TcpSocket& socket, int64_t backlog);
  CallResult tcp_connect(TcpSocket& socket, const Call& call);
  Status open_connection(TcpSocket& socket);
  Result<uint16_t> choose_port(TcpSocket& socket);
  bool flow_is_free(uint8_t protocol, const Endpoint& local, const Endpoint& remote);
  void disconnect(TcpSocket& socket);
  void stop_listening(TcpSocket& socket);
  CallResult accept(TcpSocket& listener);
  CallResult tcp_close(TcpSocket& socket, bool abort);
  void add_orphan(TcpSocket& socket);
  void limit_orphans();
  void release_port_unless_chosen(TcpSocket& socket);
  tcp::Setup setup_for(TcpSocket& socket);

  // udp.cc
  void on_udp(const net::Datagram& datagram);
  bool deliver_udp(DatagramSocket& socket, const net::Datagram& datagram, const DatagramInfo& info, ByteSpan payload);
  CallResult datagram_call(DatagramSocket& socket, const Call& call);
  CallResult datagram_connect(DatagramSocket& socket, const Call& call);
  Status send_datagram(DatagramSocket& socket, const Call& call);
  Status send_echo(DatagramSocket& socket, const Call& call);
  Status bind_automatically(DatagramSocket& socket);
  DatagramSocket* find_datagram_socket(uint8_t protocol, const Endpoint& local, const Endpoint& remote);

  // restore.cc
  CallResult restore(ByteSpan record);
  Result<SocketId> restore_tcp(RecordReader& in, uint8_t kind);
  Status restore_connection(RecordReader& in, TcpSocket& socket, bool holds_port);
  Result<SocketId> restore_datagram(RecordReader& in);
  Status restore_time_wait(RecordReader& in);

  // queries.cc
  void fill_info(const Socket& socket, Instant now, SocketInfo& info) const;

  static TcpSocket& socket_of(tcp::Connection& c) { return *static_cast<TcpSocket*>(c.context()); }

  stack::Host& host_;
  const Config config_;
  Instant now_;
  Rng rng_;
  SipKey isn_key_, timestamp_key_, port_key_;
  Counters counters_;
  SocketTable sockets_;
  FlowTable flows_;
  PortTable tcp_ports_, udp_ports_, echo_ports_;
  TimerHeap timers_;
  LoopbackQueue loopback_;
  net::Network network_;
  InterfaceConfig interfaces_[net::Network::kMaxInterfaces];
  static constexpr uint32_t kPerturbations = 64;
  uint32_t perturbations_[kPerturbations] = {};  // RFC 6056 section 3.3.4: how far each group of destinations has searched
  uint32_t path_generation_ = 1;
  uint32_t socket_count_ = 0;      // with a number or not
  uint32_t orphan_count_ = 0;      // of these: in orphans_
  uint32_t connection_count_ = 0;  // tcp::Connection objects, for which timers_ has room
  uint32_t time_wait_count_ = 0;
  List<TcpSocket, QueueTag> orphans_;          // closed by the host, not by the protocol yet; oldest first
  List<TimeWaitEntry, OrderTag> time_waits_;   // by expiry
  List<Socket, DeadTag> dead_;                 // destroyed at the end of the input
  buf::Packet packet_;             // the segment being sent; a member to keep frames small
};

}  // namespace ferry::stack

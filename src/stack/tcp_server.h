// TCP as a protocol server: its sockets, listeners, what is left of a connection in TIME_WAIT, and how segments, calls and timers
// reach a tcp::Connection.
//
//   on_datagram --> tcp_input.cc --> tcp::Connection --> tcp_output.cc --> net::Network       call --> tcp_calls.cc
//                                             \--> tcp_events.cc --> Host                     restore --> tcp_restore.cc
//
//   TcpSocket: fresh -> listener, or fresh -> connection; a child of a listener: half open -> waiting -> accepted
//
// Owns: its sockets, connections and TIME_WAITs. Destruction of sockets and connections waits for the end of the input, because a
// connection may end in the middle of any call. Does not own: protocol rules (tcp/).
#pragma once

#include "stack/port_server.h"
#include "stack/timer_heap.h"
#include "tcp/connection.h"

namespace ferry::stack {

class RecordReader;
struct TcpSocket;
struct QueueTag;
struct OrderTag;

// A listener's queues.
struct Listening {
  uint32_t backlog = 0;
  uint32_t half_open_count = 0, waiting_count = 0;
  uint32_t held = 0;  // accepted by the host, for a program that has not taken them yet: not in `waiting`
  List<TcpSocket, QueueTag> half_open;  // oldest first; with TCP_DEFER_ACCEPT also those that have sent no data
  List<TcpSocket, QueueTag> waiting;    // in the order of accept()
};

enum class Place : uint8_t { none, half_open, waiting, orphan };  // the list a TcpSocket is in

// A connection's protocol state is tcp::Connection's; it is gone (nullptr) once it is closed.
struct TcpSocket : PortSocket, TimerNode, ListNode<QueueTag> {
  TcpSocket() : PortSocket(SocketType::tcp) { protocol = wire::kProtocolTcp; }
  tcp::Connection* connection = nullptr;
  Listening* queues = nullptr;     // of a listener; owned
  TcpSocket* parent = nullptr;     // of a child that was not accepted yet
  Place place = Place::none;
  bool refused = false;            // the host did not want the child: to be reset
  bool muted = false;              // torn down by the stack: the host hears of the end only
  bool failed = false;             // the connection ended with `error`
  bool established = false;
  int32_t linger_s = -1;
  uint32_t defer_accept_s = 0;
  Errc error = Errc::ok;
  Instant began;                   // of a child: when its SYN came
  uint32_t path_generation = 0;    // of `path`; Services::path_generation()
  tcp::UserOptions options;        // of a listener or a fresh socket; a connection has its own
  net::Path path;
};

struct TimeWaitEntry : Binding, Flow, ListNode<OrderTag> {
  tcp::TimeWait state;
  net::Path path;
};

class TcpServer final : public PortServer, public tcp::Host {
 public:
  TcpServer(const Config& config, Rng& rng);
  ~TcpServer();
  TcpServer(const TcpServer&) = delete;
  TcpServer& operator=(const TcpServer&) = delete;

  // --- ProtocolServer ---
  std::span<const Service> offers() const override;
  Result<Socket*> make_socket(const Call& call) override;
  CallResult call(Socket& socket, const Call& call) override;
  void destroy(Socket& socket, bool last) override;
  bool on_datagram(const net::Datagram& datagram) override;
  void on_icmp_error(const net::IcmpError& error) override;
  void on_timer() override;
  Instant next_deadline() const override;
  // tcp_queries.cc
  void describe(const Socket& socket, Instant now, SocketInfo& info) const override;
  Result<int64_t> option(const Socket& socket, Option option) const override;
  uint32_t send_space(const Socket& socket) const override;
  Result<tcp::TcpInfo> tcp_info(const Socket& socket, Instant now) const override;
  Result<PayloadOwner> payload_owner(const wire::Ipv4View& ip) const override;
  Result<Owner> twin(const Socket& socket) const override;  // tcp_pass.cc
  uint32_t unnumbered_count() const override { return orphan_count_; }
  void for_each_unnumbered(SocketVisitor& visitor, Instant now) const override;
  void for_each_counter(CounterVisitor& visitor) const override;
  // tcp_save.cc, tcp_restore.cc
  Result<size_t> save(const Socket& socket, MutableByteSpan out) const override;
  Status for_each_record(Stack::RecordSink& sink, MutableByteSpan memory) const override;
  Result<SocketId> restore(RecordReader& in, SocketType type) override;

 private:
  Status reserve_connection();
  void drop_socket(TcpSocket& socket);

  // tcp::Host (tcp_output.cc, tcp_events.cc)
  void emit(tcp::Connection& c, const tcp::OutputSegment& segment) override;
  Result<buf::IoDesc> place(tcp::Connection& c, ByteSpan payload) override;
  void discard(tcp::Connection& c, const buf::IoDesc& d) override;
  void deliver(tcp::Connection& c, const buf::IoDesc& d) override;
  void on_completed(tcp::Connection& c, uint32_t bytes) override;
  void on_events(tcp::Connection& c, uint32_t events) override;
  void on_deadline_changed(tcp::Connection& c) override;

  // tcp_input.cc: segments and listeners
  void on_segment(const net::Datagram& datagram);
  void on_time_wait(TimeWaitEntry& entry, const net::Datagram& datagram, const tcp::InputSegment& segment);
  void on_listener(TcpSocket& listener, const net::Datagram& datagram, const tcp::InputSegment& segment,
                   const Endpoint& local, const Endpoint& remote, tcp::SeqNum least_iss, bool has_least_iss);
  bool is_in_our_share(const Endpoint& local, const Endpoint& remote);
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
  void reset_child(TcpSocket& child);
  void enter_time_wait(TcpSocket& socket, tcp::Connection& c);
  void forget_time_wait(TimeWaitEntry& entry);
  void expire_time_waits();

  // tcp_calls.cc
  Status set_option(TcpSocket& socket, Option option, int64_t value);
  Status listen(TcpSocket& socket, int64_t backlog);
  CallResult connect(TcpSocket& socket, const Call& call);
  CallResult send(TcpSocket& socket, const Call& call);
  CallResult consumed(TcpSocket& socket, int64_t bytes);
  CallResult shutdown(TcpSocket& socket, int64_t how);
  Status open_connection(TcpSocket& socket);
  Result<uint16_t> choose_port(TcpSocket& socket);
  bool flow_is_free(const Endpoint& local, const Endpoint& remote);
  void disconnect(TcpSocket& socket);
  void stop_listening(TcpSocket& socket);
  CallResult accept(TcpSocket& listener);
  CallResult close(TcpSocket& socket, bool abort);
  void add_orphan(TcpSocket& socket);
  void limit_orphans();
  void release_port_unless_chosen(TcpSocket& socket);
  tcp::Setup setup_for(TcpSocket& socket);

  // tcp_pass.cc
  const TcpSocket* twin_of(const TcpSocket& socket) const;
  Status settle(TcpSocket& socket);
  Status pass(TcpSocket& socket, const Call& call);

  // tcp_restore.cc
  struct QueuePlace {
    Place place;
    TcpSocket* parent;  // the listener, of a child
  };
  Result<QueuePlace> read_queue(RecordReader& in);
  void join_queue(TcpSocket& socket, const QueuePlace& queue);
  Status restore_connection(RecordReader& in, TcpSocket& socket, bool holds_port);
  Status restore_time_wait(RecordReader& in);

  // By index of the table of sockets; nullptr: none of ours.
  const TcpSocket* at(uint32_t index) const {
    const Socket* s = services().at(index);
    return s != nullptr && s->server == this ? static_cast<const TcpSocket*>(s) : nullptr;
  }
  static TcpSocket& socket_of(tcp::Connection& c) { return *static_cast<TcpSocket*>(c.context()); }

  SipKey isn_key_, timestamp_key_, port_key_;
  TimerHeap timers_;
  static constexpr uint32_t kPerturbations = 64;
  uint32_t perturbations_[kPerturbations] = {};  // RFC 6056 section 3.3.4: how far each group of destinations has searched
  uint32_t orphan_count_ = 0;
  uint32_t connection_count_ = 0;  // tcp::Connection objects, for which timers_ has room
  uint32_t time_wait_count_ = 0;
  List<TcpSocket, QueueTag> orphans_;          // closed by the host, not by the protocol yet; oldest first
  List<TimeWaitEntry, OrderTag> time_waits_;   // by expiry
};

}  // namespace ferry::stack

// SCTP (RFC 4960) by usrsctp, as Debian packages it (libusrsctp 0.9.5): a foreign stack behind the interface of protocol servers, unchanged.
// One-to-one sockets (RFC 6458 section 4) and one-to-many sockets (section 3), from which associations can be peeled off.
//
//   Call --> usrsctp_calls.cc, usrsctp_many.cc, usrsctp_*options.cc        datagram --> usrsctp_wire.cc --> usrsctp_conninput
//   upcalls mark a socket; look_at() asks usrsctp what has happened to it (usrsctp_events.cc, usrsctp_notifications.cc) --> Host
//   conn_output --> usrsctp_wire.cc --> net::Network::send
//
// No thread is started (usrsctp_init_nothreads); its timers are called by our time, every 20 ms while there may be an association. It speaks
// by AF_CONN: an "address" is a pointer to a Path, the pair of IP addresses that packets go between.
//
// Owns: its sockets, the paths, and usrsctp's state, which is one per process: create() gives the only one.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "foreign/sctp_linux.h"
#include "stack/services.h"

// usrsctp's `struct socket`; a name of the kernel's headers, where a function has it, too.
struct socket;

namespace ferry::foreign {

using usrsctp_socket_t = struct ::socket;

// A pair of addresses. usrsctp may refer to it as long as an association lingers, so it goes only when long unused.
struct Path {
  wire::Ipv4Address local, remote;
  Instant used;           // a packet came or went
  uint32_t sockets = 0;   // of ours that refer to it
};

// The other end of an association.
struct Peer {
  Path* path = nullptr;
  uint16_t port = 0;
  wire::Endpoint endpoint() const { return {wire::IpAddress::from(path->remote), port}; }
};

// An association of a one-to-many socket.
struct Association {
  Peer peer;
  bool up = false;
  bool unwanted = false;            // its peer has come to an address that the socket is not bound to: it is being aborted, unseen
  sctp_linux::Subscriptions subscriptions;
};

struct SctpSocket : stack::Socket {
  explicit SctpSocket(stack::SocketType t) : Socket(t) {}
  bool many() const { return type == stack::SocketType::sctp_many; }
  usrsctp_socket_t* so = nullptr;           // nullptr: closed, or the association is over
  SctpSocket* parent = nullptr;     // of a child that was not accepted yet
  std::deque<SctpSocket*> waiting;  // of a listener
  uint32_t backlog = 0;
  Path* path = nullptr;
  wire::Endpoint local, remote;
  bool listening = false, connecting = false, established = false;
  bool marked = false;              // in the list of those to look at
  bool blocked = false;             // a message found no room; the host waits for Event::writable
  bool peer_closed = false, failed = false, write_shut = false;
  int32_t linger_s = -1;
  Errc error = Errc::ok;
  uint32_t association = 0;         // one-to-many: the one that the latest connect began
  std::unordered_map<uint32_t, Association> associations;  // one-to-many: by their numbers
  sctp_linux::Subscriptions subscriptions;
  bool in_notification = false;     // the next piece goes on with one
  bool told_notification = false;   // which the program has subscribed to
  bool peeled = false;              // out of a one-to-many socket: usrsctp knows no shutdown() of it
  bool wants_receive_info = false;  // SCTP_RECVRCVINFO
  sctp_linux::SendInfo defaults;    // SCTP_DEFAULT_SEND_PARAM
  std::map<int, std::vector<std::byte>> chosen;  // options that the program has set, by Linux's numbers
  // A piece that the host had no room for.
  bool has_pending = false;
  stack::MessageInfo pending_info;
  std::vector<std::byte> pending;
};

class UsrsctpServer final : public stack::ProtocolServer {
 public:
  // Errc::already: there is one in this process.
  static Result<std::unique_ptr<UsrsctpServer>> create();
  ~UsrsctpServer();

  std::span<const stack::Service> offers() const override;
  Result<stack::Socket*> make_socket(const stack::Call& call) override;
  stack::CallResult call(stack::Socket& socket, const stack::Call& call) override;
  void destroy(stack::Socket& socket, bool last) override;
  bool on_datagram(const net::Datagram& datagram) override;
  void on_timer() override;
  Instant next_deadline() const override { return tick_; }
  void describe(const stack::Socket& socket, Instant now, stack::SocketInfo& info) const override;
  Result<int64_t> option(const stack::Socket& socket, stack::Option option) const override;
  Result<size_t> protocol_option(const stack::Socket& socket, int name, MutableByteSpan value, size_t length) const override;
  uint32_t send_space(const stack::Socket& socket) const override;
  void for_each_counter(stack::CounterVisitor& visitor) const override;

 private:
  UsrsctpServer() = default;

  // usrsctp_calls.cc
  bool open(SctpSocket& socket);
  void open_again(SctpSocket& socket);
  stack::CallResult bind(SctpSocket& socket, const stack::Call& call);
  stack::CallResult connect(SctpSocket& socket, const stack::Call& call);
  stack::CallResult accept(SctpSocket& listener);
  Errc bind_port(SctpSocket& socket, uint16_t port);
  Errc listen(SctpSocket& socket, int64_t backlog);
  Errc send(SctpSocket& socket, const stack::Call& call);
  Errc hand_on(SctpSocket& socket, const stack::Call& call, const sctp_linux::SendInfo& info, const Peer* to);
  Result<sctp_linux::SendInfo> send_info(const SctpSocket& socket, const stack::Call& call) const;
  Errc shutdown(SctpSocket& socket, int64_t how);
  void close(SctpSocket& socket, bool abort);
  void stop_listening(SctpSocket& socket);
  void release(SctpSocket& socket, bool abort);
  // usrsctp_many.cc
  Result<Peer> peer_at(SctpSocket& socket, const wire::Endpoint& remote);
  Errc may_begin(const SctpSocket& socket, const Peer& peer) const;
  static uint32_t association_with(const SctpSocket& socket, const Peer& peer);
  stack::CallResult connect_one(SctpSocket& socket, const stack::Call& call);
  Errc send_to(SctpSocket& socket, const stack::Call& call);
  stack::CallResult peel_off(SctpSocket& socket, uint32_t association);
  Association& enter(SctpSocket& socket, uint32_t association, const Peer& peer);
  void leave(SctpSocket& socket, uint32_t association);
  void leave_all(SctpSocket& socket);
  void on_association(SctpSocket& socket, const sctp_linux::Notification& change, const Peer& peer);
  // usrsctp_options.cc, usrsctp_association_options.cc
  Errc set_option(SctpSocket& socket, stack::Option option, int64_t value);
  Errc set_protocol_option(SctpSocket& socket, int name, ByteSpan value);
  Errc choose(SctpSocket& socket, int name, ByteSpan value);
  static bool set_up(usrsctp_socket_t* so, uint32_t mtu);
  Errc subscribe(SctpSocket& socket, const sctp_linux::Subscription& subscription);
  Errc subscribe_all(SctpSocket& socket, ByteSpan value);
  static Errc set_association_option(SctpSocket& socket, int name, ByteSpan value);
  Result<size_t> association_option(const SctpSocket& socket, int name, MutableByteSpan value, size_t length) const;
  Result<size_t> status_option(const SctpSocket& socket, MutableByteSpan value, size_t length) const;
  Result<size_t> path_option(const SctpSocket& socket, MutableByteSpan value, size_t length) const;
  Result<size_t> address_option(const SctpSocket& socket, bool remote, MutableByteSpan value, size_t length) const;

  // usrsctp_events.cc
  static void upcall(usrsctp_socket_t* so, void* arg, int flags);
  void look_at_marked();
  void look_at(SctpSocket& socket);
  void take_child(SctpSocket& listener, usrsctp_socket_t* so, Path& path, uint16_t remote_port);
  SctpSocket* adopt(SctpSocket& parent, usrsctp_socket_t* so, const Peer& peer, bool wanted = true);
  void receive(SctpSocket& socket);
  bool deliver(SctpSocket& socket, const stack::MessageInfo& info, ByteSpan bytes);
  bool deliver_pending(SctpSocket& socket);
  // usrsctp_notifications.cc
  void on_notification(SctpSocket& socket, const Peer& from, ByteSpan bytes, bool last);
  void notify(SctpSocket& socket, const sctp_linux::Notification& notification, const Peer& from, ByteSpan more, bool last);
  void on_change(SctpSocket& socket, const sctp_linux::Notification& change);
  void on_peer_closed(SctpSocket& socket);
  void on_end_in_queue(SctpSocket& child);
  void fail(SctpSocket& socket, Errc error);

  // usrsctp_wire.cc
  static int output(void* path, void* packet, size_t length, uint8_t tos, uint8_t set_df);
  void send_down(Path& path, ByteSpan packet, uint8_t tos);
  Path* path_between(wire::Ipv4Address local, wire::Ipv4Address remote);
  Path* known(const void* pointer) const;
  void forget_unused_paths();
  void keep_ticking();
  uint32_t least_mtu() const;
  stack::Host& up() const { return services().host(); }

  std::unordered_map<uint64_t, std::unique_ptr<Path>> paths_;   // by both addresses
  std::unordered_set<const void*> known_;                       // the same: what usrsctp gives back is looked for here
  std::vector<SctpSocket*> marked_;
  std::vector<SctpSocket*> peeled_;
  uint32_t sockets_ = 0;
  uint64_t lost_ = 0;               // messages for associations that are not there
  uint32_t associations_ = 0;       // of all sockets, and those on their way
  Instant tick_ = Instant::never();
  Instant ticked_;                  // when usrsctp last heard of time
  Instant linger_until_;            // an association that was closed may go on until then
};

}  // namespace ferry::foreign

// What the servers of datagram sockets have in common: who receives, connect, implicit binding, records. UDP (udp_server.cc) and ICMP
// echo (echo_server.cc) differ in what is on the wire.
//
// Owns: its sockets. Does not own: protocol rules (udp/, net/).
#pragma once

#include "stack/port_server.h"

namespace ferry::stack {

struct DatagramSocket : PortSocket {
  using PortSocket::PortSocket;
  bool connected = false;
};

class DatagramServer : public PortServer {
 public:
  Result<Socket*> make_socket(const Call& call) override;
  CallResult call(Socket& socket, const Call& call) override;
  void destroy(Socket& socket, bool last) override;
  void on_icmp_error(const net::IcmpError& error) override;
  void describe(const Socket& socket, Instant now, SocketInfo& info) const override;
  Result<int64_t> option(const Socket& socket, Option option) const override;
  Result<size_t> save(const Socket& socket, MutableByteSpan out) const override;
  Status for_each_record(Stack::RecordSink& sink, MutableByteSpan memory) const override;
  Result<SocketId> restore(RecordReader& in, SocketType type) override;

 protected:
  DatagramServer(SocketType type, uint8_t protocol, uint16_t first_port, uint16_t last_port, const SipKey& flow_key)
      : PortServer(first_port, last_port, flow_key), type_(type), protocol_(protocol) {}
  ~DatagramServer() = default;

  // send_datagram or send_echo: the one that this server knows.
  virtual Status send(DatagramSocket& socket, const Call& call) = 0;
  // How well a connected socket fits what comes from `remote`; see find_socket.
  virtual bool is_peer(const DatagramSocket& socket, const Endpoint& remote) const { return socket.remote == remote; }
  // Whether the socket hears of this error (ip(7), IP_RECVERR).
  virtual bool wants_error(const DatagramSocket& /*socket*/, const net::IcmpError& /*error*/) const { return true; }
  // Whether a connected socket is found by its flow, not among the receivers of its port.
  virtual bool is_flow(const net::Path& /*path*/) const { return false; }
  void on_bound(PortSocket& socket) override { ports_.add_receiver(socket); }

  bool deliver(DatagramSocket& socket, const DatagramInfo& info, ByteSpan payload);
  Status bind_automatically(DatagramSocket& socket);
  DatagramSocket* find_socket(const Endpoint& local, const Endpoint& remote);
  static DatagramInfo info_of(const net::Datagram& datagram, const Endpoint& local, const Endpoint& remote);

 private:
  CallResult connect(DatagramSocket& socket, const Call& call);
  Status set_option(DatagramSocket& socket, Option option, int64_t value);

  const SocketType type_;
  const uint8_t protocol_;
};

}  // namespace ferry::stack

// TCP by lwIP, as Debian packages it (liblwip 2.1): a foreign stack behind the interface of protocol servers, unchanged.
//
//   Call --> lwip_calls.cc --> tcp_connect, tcp_write, …       datagram --> lwip_wire.cc --> ip4_input
//   lwIP's callbacks --> lwip_events.cc --> Host               netif output --> lwip_wire.cc --> net::Network::send
//
// The package is built with threads. None is started: lwip_init() without tcpip_init() leaves lwIP's core to whoever calls it, here one
// thread; its timers are called by our time (tcp_tmr). Its own loopback would need the thread, so packets leave through a netif whose
// address is nobody's, and 127.0.0.0/8 is refused.
//
// Owns: its sockets and, with their pcbs, lwIP's state, which is one per process: create() gives the only one.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include <lwip/netif.h>
#include <lwip/tcp.h>

#include "stack/services.h"
#include "wire/tcp.h"

namespace ferry::foreign {

struct LwipSocket : stack::Socket {
  LwipSocket() : Socket(stack::SocketType::tcp) {}
  tcp_pcb* pcb = nullptr;           // nullptr: not connected any more, or a listener
  tcp_pcb* listener = nullptr;      // lwIP's smaller pcb of a listener
  LwipSocket* parent = nullptr;     // of a child that was not accepted yet
  std::deque<LwipSocket*> waiting;  // of a listener
  uint32_t backlog = 0;
  wire::Endpoint local, remote;
  std::deque<buf::IoDesc> output;   // not yet taken by lwIP, which copies
  pbuf* late = nullptr;             // the last input, in front of the FIN, until there is room for it
  uint32_t unread = 0;              // bytes delivered and not consumed
  bool established = false, failed = false;
  bool read_shut = false, write_shut = false;  // asked for; the FIN follows the output
  bool closing = false;             // the host has closed it
  int32_t linger_s = -1;
  Errc error = Errc::ok;
  // Options that wait for a pcb or are read back.
  bool no_delay = false, keep_alive = false, reuse_address = false;
  uint32_t keep_idle_s = 7200, keep_interval_s = 75, keep_count = 9;
  uint8_t tos = 0, ttl = 64;
  uint32_t receive_buffer = TCP_WND, send_buffer = 4 * TCP_SND_BUF;  // the latter in the owner's memory: lwIP takes it as it has room
};

class LwipServer final : public stack::ProtocolServer {
 public:
  // Errc::already: there is one in this process, whose state lwIP cannot give up.
  static Result<std::unique_ptr<LwipServer>> create();
  ~LwipServer();

  std::span<const stack::Service> offers() const override;
  void attach(stack::Services& services) override;
  Result<stack::Socket*> make_socket(const stack::Call& call) override;
  stack::CallResult call(stack::Socket& socket, const stack::Call& call) override;
  void destroy(stack::Socket& socket, bool last) override;
  bool on_datagram(const net::Datagram& datagram) override;
  void on_timer() override;
  Instant next_deadline() const override;
  void describe(const stack::Socket& socket, Instant now, stack::SocketInfo& info) const override;
  Result<int64_t> option(const stack::Socket& socket, stack::Option option) const override;
  uint32_t send_space(const stack::Socket& socket) const override;
  Result<tcp::TcpInfo> tcp_info(const stack::Socket& socket, Instant now) const override;
  void for_each_counter(stack::CounterVisitor& visitor) const override;

 private:
  LwipServer() = default;

  // lwip_calls.cc
  stack::CallResult bind(LwipSocket& socket, const stack::Call& call);
  stack::CallResult connect(LwipSocket& socket, const stack::Call& call);
  stack::CallResult accept(LwipSocket& listener);
  Errc listen(LwipSocket& socket, int64_t backlog);
  Errc send(LwipSocket& socket, const stack::Call& call);
  Errc consumed(LwipSocket& socket, int64_t bytes);
  Errc shutdown(LwipSocket& socket, int64_t how);
  void close(LwipSocket& socket, bool abort);
  Errc set_option(LwipSocket& socket, stack::Option option, int64_t value);
  void apply_options(LwipSocket& socket);
  Errc need_pcb(LwipSocket& socket);
  void stop_listening(LwipSocket& socket);
  void disconnect(LwipSocket& socket);

  // lwip_events.cc
  void pump(LwipSocket& socket);
  void finish_close(LwipSocket& socket);
  void pump_closing();
  void let_go(LwipSocket& socket);
  void end(LwipSocket& socket, uint32_t events);
  void watch(LwipSocket& socket);
  err_t on_accept(LwipSocket& listener, tcp_pcb* pcb);
  err_t on_receive(LwipSocket& socket, pbuf* p);
  void on_fin(LwipSocket& socket);
  bool deliver(LwipSocket& socket, pbuf* p);
  void offer_late(LwipSocket& socket);
  void drop_late(LwipSocket& socket);
  void on_connected(LwipSocket& socket);
  void on_error(LwipSocket& socket, err_t error);
  static err_t receive_callback(void* arg, tcp_pcb* pcb, pbuf* p, err_t error);
  static err_t sent_callback(void* arg, tcp_pcb* pcb, u16_t length);
  static err_t connected_callback(void* arg, tcp_pcb* pcb, err_t error);
  static err_t accept_callback(void* arg, tcp_pcb* pcb, err_t error);
  static void error_callback(void* arg, err_t error);

  // lwip_wire.cc
  Errc serve_address(wire::Ipv4Address address);
  static err_t output_callback(netif* exit, pbuf* p, const ip4_addr_t* destination);
  void send_down(pbuf* p);
  static void end_time_wait(const net::Datagram& datagram, const wire::TcpView& tcp);
  void give_to_lwip(const net::Datagram& datagram, ByteSpan segment);

  static LwipServer& of(LwipSocket& socket) { return *static_cast<LwipServer*>(socket.server); }
  stack::Host& up() const { return services().host(); }

  netif exit_{};                                  // where all of lwIP's packets leave
  std::vector<std::unique_ptr<netif>> addresses_; // one for each address of ours, so that lwIP takes what comes for it
  std::vector<LwipSocket*> closing_;              // waiting for lwIP to take their output or their end
  std::vector<LwipSocket*> late_;                 // those with LwipSocket::late
  bool in_input_ = false;                         // lwIP has a segment, and calls back
  bool close_waits_ = false;                      // until it has done with that
  uint32_t sockets_ = 0;
  Instant tick_ = Instant::never();               // of lwIP's timers
};

}  // namespace ferry::foreign

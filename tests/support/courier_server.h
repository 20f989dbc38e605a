// A protocol made up for tests: the smallest that needs every operation of the interface of protocol servers, and is written against it
// and nothing else (docs/protocol-servers.md walks through it). Reliable bytes between two ports, one packet at a time:
//
//   IP protocol 253 (RFC 3692):  source port u16 | destination port u16 | kind u8 (1 data, 2 acknowledgement) | turn u8 | payload
//
//   A packet is sent again every 200 ms until its turn is acknowledged; then the turn changes. connect() only names the peer.
//
// Owns: its sockets. Output stays where its owner has it until it is acknowledged.
#pragma once

#include <deque>
#include <vector>

#include "stack/services.h"

namespace ferry::support {

inline constexpr stack::SocketType kCourier{9};

struct CourierSocket : stack::Socket {
  CourierSocket() : Socket(kCourier) {}
  wire::Endpoint local, remote;
  std::deque<buf::IoDesc> output;   // referenced until acknowledged; the first `in_flight` bytes of it are on their way
  uint32_t in_flight = 0;
  uint8_t turn = 0, expected = 0;   // of output and input
  uint32_t unread = 0;              // bytes delivered and not consumed
  Instant resend = Instant::never();
};

class CourierServer final : public stack::ProtocolServer {
 public:
  static constexpr uint8_t kProtocol = 253;
  static constexpr uint32_t kHeader = 6, kMaxPayload = 1000, kMaxQueue = 8, kWindow = 4000;

  std::span<const stack::Service> offers() const override;
  Result<stack::Socket*> make_socket(const stack::Call& call) override;
  stack::CallResult call(stack::Socket& socket, const stack::Call& call) override;
  void destroy(stack::Socket& socket, bool last) override;
  bool on_datagram(const net::Datagram& datagram) override;
  void on_timer() override;
  Instant next_deadline() const override;
  void describe(const stack::Socket& socket, Instant now, stack::SocketInfo& info) const override;
  uint32_t send_space(const stack::Socket& socket) const override;

 private:
  Errc send(CourierSocket& socket, const buf::IoDesc& data);
  void transmit(CourierSocket& socket);
  Status emit(const CourierSocket& socket, uint8_t kind, uint8_t turn, buf::Packet& packet);
  void on_acknowledged(CourierSocket& socket, uint8_t turn);
  bool on_data(CourierSocket& socket, uint8_t turn, ByteSpan payload);
  std::vector<CourierSocket*> sockets_;
};

}  // namespace ferry::support

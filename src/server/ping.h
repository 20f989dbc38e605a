// ICMP echo for `ferry ping`: one request, one deferred answer.
#pragma once

#include <string>
#include <vector>

#include "server/client.h"
#include "server/engine.h"

namespace ferry::server {

class Pings final : private EchoOwners {
 public:
  explicit Pings(Engine& engine) : engine_(engine) { engine.host().set_echo_owners(this); }

  // "ADDRESS SEQUENCE SIZE TIMEOUT_MS". True: `reply` holds a refusal. False: Client::finish() follows within the time-out.
  bool start(Client& client, const std::string& arguments, ipc::control::Reply& reply);
  void forget(Client& client);
  // Answers what has timed out.
  void on_turn();
  Instant next_deadline() const;

 private:
  struct Ping {
    Client* client = nullptr;  // nullptr: answered
    stack::Owner owner = 0;
    stack::SocketId socket = 0;
    std::string address;
    uint16_t sequence = 0;
    uint32_t size = 0;
    Instant sent, deadline;
    bool done = false;
    Duration rtt;
    uint8_t ttl = 0;
    Errc error = Errc::ok;
  };
  static constexpr size_t kMaxPings = 64;
  static constexpr uint32_t kMaxSize = 65507;  // bytes of payload: 65535 - IPv4 header - ICMP header

  void on_echo_reply(stack::Owner owner, const stack::DatagramInfo& info, ByteSpan message) override;
  void on_echo_error(stack::Owner owner, Errc error) override;
  Ping* find(stack::Owner owner);
  void answer(Ping& ping);
  void close(Ping& ping);

  Engine& engine_;
  std::vector<Ping> pings_;
  uint64_t next_owner_ = 1;
  uint16_t next_identifier_ = 1;
};

}  // namespace ferry::server

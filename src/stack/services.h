// What a protocol server may use, and nothing else: the time, chance, counters, the numbers of its sockets, and the way up and down.
//
//   up     host(): place, deliver, discard, deliver_datagram, deliver_message, on_completed, on_events, on_incoming, on_acceptable
//   down   network(): find_path, begin, send, send_unreachable
//   bytes  host() is buf::Memory, too: read, write
//
// Owns: the table of sockets, the list of those to be destroyed. Does not own: sockets (their servers'), host, network.
#pragma once

#include "base/counters.h"
#include "base/rng.h"
#include "net/network.h"
#include "stack/protocol_server.h"
#include "stack/socket_table.h"

namespace ferry::stack {

class Services {
 public:
  Services(const Config& config, Host& host) : config_(config), host_(host), rng_(config.seed), sockets_(config.max_sockets) {}

  Instant now() const { return now_; }
  const Config& config() const { return config_; }
  Rng& rng() { return rng_; }
  Counters& counters() { return counters_; }
  Host& host() { return host_; }
  net::Network& network() { return *network_; }
  // For the packet being sent; kept here so that stack frames stay small. Nobody keeps anything in it over a call.
  buf::Packet& packet() { return packet_; }
  // Rises whenever paths may have changed: who keeps a net::Path looks for it anew then.
  uint32_t path_generation() const { return path_generation_; }
  // Where 0.0.0.0 leads as a destination: to ourselves, as on Linux. Any other address as it is.
  wire::IpAddress reachable(const wire::IpAddress& address) const;

  // --- sockets ---
  // Whether there is no number for one more socket. What has none (a connection that lingers) has a bound of its server's.
  bool is_full() const { return sockets_.count() >= config_.max_sockets; }
  // Gives the socket a number. Errc::too_many, no_memory.
  Status add(Socket& socket);
  // Gives it the number of an earlier life. Errc::too_many, address_in_use, no_memory, malformed.
  Status restore(Socket& socket, SocketId id);
  // Any server's; nullptr: no such socket.
  Socket* find(SocketId id) const { return sockets_.find(id); }
  // By index from 0; nullptr: free.
  uint32_t slot_count() const { return sockets_.slot_count(); }
  Socket* at(uint32_t index) const { return sockets_.at(index); }
  uint32_t count() const { return sockets_.count(); }
  // The host has closed it: its number is nobody's. The socket may live on.
  void forget(Socket& socket);
  // Forgets it and has its server destroy it at the end of the input. Twice is once.
  void doom(Socket& socket);
  // Tells the owner that nothing more will happen, once.
  void tell_closed(Socket& socket, uint32_t events);

 private:
  friend class Engine;
  const Config config_;
  Host& host_;
  net::Network* network_ = nullptr;
  Instant now_;
  Rng rng_;
  Counters counters_;
  SocketTable sockets_;
  List<Socket, DeadTag> dead_;
  uint32_t path_generation_ = 1;
  buf::Packet packet_;
};

}  // namespace ferry::stack

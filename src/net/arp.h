// ARP on one link (RFC 826; RFC 1122 section 2.3.2; RFC 5227 through address_guard.h): finds neighbours, answers for our address.
//
// Owns: the neighbour table's moves, requests with retry, our address's guard. Does not own: routes, IP headers.
#pragma once

#include <cstdint>

#include "base/counters.h"
#include "base/result.h"
#include "base/rng.h"
#include "base/time.h"
#include "buf/packet.h"
#include "net/address_guard.h"
#include "net/interface.h"
#include "net/neighbor_table.h"
#include "wire/arp.h"

namespace ferry::net {

class ArpHost : public Output {
 public:
  // A frame that waited for its neighbour in vain, from the Ethernet header.
  virtual void on_unresolved(Instant now, LinkIndex link, ByteSpan frame) = 0;
  // Probing ended well, or our address belongs to `other`.
  virtual void on_address(LinkIndex link, bool usable, const wire::MacAddress& other) = 0;

 protected:
  ~ArpHost() = default;
};

class Arp {
 public:
  static constexpr Duration kReachableTime = Duration::seconds(60);
  static constexpr uint8_t kMaxRequests = 3;                         // per round
  static constexpr Duration kRequestInterval = Duration::seconds(1); // RFC 1122 section 2.3.2.1: no faster
  static constexpr Duration kMaxHoldDown = Duration::seconds(8);     // after failed rounds: 1, 2, 4, 8 s

  Arp(ArpHost& host, Counters& counters, const Interface& interface, uint64_t seed)
      : host_(host), counters_(counters), interface_(interface), rng_(seed) {}
  Arp(const Arp&) = delete;
  Arp& operator=(const Arp&) = delete;

  // Probes for our address, or announces it at once.
  void start(Instant now, bool probe);
  bool address_usable() const { return interface_.quiet || guard_.usable(); }
  // `payload` of an ARP frame.
  void on_packet(Instant now, ByteSpan payload);
  void on_timer(Instant now);
  Instant next_deadline() const { return deadline_; }

  // Sends a frame, complete but for its destination MAC address, to a neighbour on the link; it waits, copied, if the address is
  // not known yet. Errc::host_unreachable: the neighbour did not answer lately; no_buffers, no_memory; or the link's.
  Status send(Instant now, wire::Ipv4Address neighbor, buf::Packet& frame, const buf::Memory& memory);

  // What is sent to the neighbour brings no answer: it is asked again at the next use, unless it has answered within a second.
  void doubt(Instant now, wire::Ipv4Address neighbor);

  const NeighborTable& table() const { return table_; }

 private:
  void learn(Instant now, Neighbor& n, const wire::ArpView& arp);
  void flush(Neighbor& n);
  void fail(Instant now, Neighbor& n);
  void ask(Instant now, Neighbor& n);
  void run_guard(Instant now);
  void announce();
  void emit(const wire::ArpFields& fields, const wire::MacAddress& destination);
  void update_deadline();

  ArpHost& host_;
  Counters& counters_;
  Interface interface_;
  Rng rng_;
  AddressGuard guard_;
  NeighborTable table_;
  Instant deadline_ = Instant::never();
};

}  // namespace ferry::net

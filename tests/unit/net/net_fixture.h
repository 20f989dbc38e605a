// A network layer on a pretend link: frames that it sends and upcalls that it makes are kept, frames are made up for it.
// We are 10.9.0.1 (02:..:01) on link 0; the peer is 10.9.0.2 (02:..:02).
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <vector>

#include "net/network.h"
#include "port/user/hooks.h"
#include "support/bytes.h"
#include "wire/arp.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"

namespace ferry::test {

using net::LinkIndex;
using wire::Ipv4Address;
using wire::MacAddress;

inline constexpr MacAddress kOurMac{{2, 0, 0, 0, 0, 1}};
inline constexpr MacAddress kPeerMac{{2, 0, 0, 0, 0, 2}};
inline constexpr Ipv4Address kOurs = Ipv4Address::of(10, 9, 0, 1);
inline constexpr Ipv4Address kPeer = Ipv4Address::of(10, 9, 0, 2);

// Region 1 is `bytes`; everything else is gone.
struct OneRegion : buf::Memory {
  virtual ~OneRegion() = default;
  Bytes bytes;
  ByteSpan read(const buf::IoDesc& d) const override {
    if (d.region != 1 || d.offset > bytes.size() || d.length > bytes.size() - d.offset) return {};
    return ByteSpan(bytes).subspan(d.offset, d.length);
  }
  MutableByteSpan write(const buf::IoDesc&) override { return {}; }
};

struct SentFrame {
  LinkIndex link;
  Bytes bytes;
  buf::Offload offload;

  wire::EthernetView ethernet() const { return *wire::EthernetView::parse(bytes); }
  wire::Ipv4View ip() const { return *wire::Ipv4View::parse(ethernet().payload()); }
  wire::ArpView arp() const { return *wire::ArpView::parse(ethernet().payload()); }
};

inline Bytes flatten(const buf::Packet& p, const buf::Memory& memory) {
  Bytes out = copy(p.header_bytes());
  for (uint32_t i = 0; i < p.part_count; ++i) {
    const ByteSpan part = memory.read(p.parts[i]);
    out.insert(out.end(), part.begin(), part.end());
  }
  out.insert(out.end(), p.tail.begin(), p.tail.end());
  EXPECT_EQ(out.size(), p.frame_length());
  return out;
}

struct FakeHost : net::NetworkHost {
  explicit FakeHost(const buf::Memory& m) : memory(m) {}
  virtual ~FakeHost() = default;

  Status transmit(LinkIndex link, const buf::Packet& frame) override {
    if (link_error != Errc::ok) return link_error;
    sent.push_back({link, flatten(frame, memory), frame.offload});
    return {};
  }
  Status loop_back(LinkIndex link, const buf::Packet& packet) override {
    if (link_error != Errc::ok) return link_error;
    looped.push_back({link, flatten(packet, memory), packet.offload});
    return {};
  }
  bool on_datagram(Instant, const net::Datagram& d) override {
    datagrams.push_back(copy(d.ip.bytes()));
    datagram_broadcast = d.broadcast;
    datagram_trusted = d.checksum_trusted();
    if (answer) answer(d);
    return d.ip.protocol() == wire::kProtocolTcp || d.ip.protocol() == wire::kProtocolUdp;
  }
  void on_icmp_error(Instant, const net::IcmpError& e) override { errors.push_back(e); }
  void on_echo_reply(Instant, const net::Datagram&, const wire::IcmpView& reply) override {
    echo_replies.push_back(copy(reply.bytes()));
  }
  void on_address(LinkIndex, bool usable, const MacAddress& other) override {
    address_events.push_back({usable, other});
  }

  const buf::Memory& memory;
  Errc link_error = Errc::ok;
  std::vector<SentFrame> sent, looped;
  std::vector<Bytes> datagrams, echo_replies;
  std::vector<net::IcmpError> errors;
  std::vector<std::pair<bool, MacAddress>> address_events;
  bool datagram_broadcast = false, datagram_trusted = false;
  std::function<void(const net::Datagram&)> answer;
};

inline net::Interface link_interface(LinkIndex link = 0) {
  net::Interface i;
  i.link = link;
  i.mac = kOurMac;
  i.prefix = {kOurs, 24};
  return i;
}

class NetworkTest : public ::testing::Test {
 protected:
  // Most tests begin with a usable address and a peer whose MAC address is known.
  void start(const net::Interface& interface = link_interface()) {
    ASSERT_TRUE(network.add_interface(now, interface));
    know_peer();
    host.sent.clear();
  }
  void know_peer() { receive(arp_frame(wire::kArpReply, kPeerMac, kPeer, kOurMac, kOurs), asked()); }
  // A reply is believed only when it was asked for.
  bool asked() {
    net::Ipv4Header h{kOurs, kPeer, wire::kProtocolUdp};
    buf::Packet p;
    net::Network::begin(p);
    EXPECT_TRUE(network.send(now, *network.find_path(kPeer), h, p));
    return true;
  }

  void receive(const Bytes& bytes, bool = true) { network.on_frame(now, 0, buf::Frame{bytes, {}}); }
  void pass(Duration d) {
    const Instant end = now + d;
    while (network.next_deadline() <= end) {
      now = network.next_deadline();
      network.on_timer(now);
    }
    now = end;
  }

  static Bytes arp_frame(uint16_t operation, MacAddress sender_mac, Ipv4Address sender, MacAddress target_mac,
                         Ipv4Address target) {
    return join(emit(wire::EthernetFields{operation == wire::kArpReply ? target_mac : MacAddress::broadcast(), sender_mac,
                                          wire::kEtherArp}),
                emit(wire::ArpFields{operation, sender_mac, sender, target_mac, target}), Bytes(18));
  }
  static Bytes ip_packet(wire::Ipv4Fields ip, ByteSpan payload) {
    ip.total_length = static_cast<uint16_t>(20 + payload.size());
    return join(emit(ip), payload);
  }
  static Bytes frame_of(const Bytes& packet, MacAddress to = kOurMac) {
    return join(emit(wire::EthernetFields{to, kPeerMac, wire::kEtherIpv4}), packet);
  }
  static wire::Ipv4Fields from_peer(uint8_t protocol, Ipv4Address to = kOurs) {
    wire::Ipv4Fields ip;
    ip.protocol = protocol;
    ip.source = kPeer;
    ip.destination = to;
    return ip;
  }
  static Bytes icmp(uint8_t type, uint8_t code, uint32_t rest, ByteSpan data) {
    wire::IcmpFields f{type, code, 0, rest};
    f.seal(data);
    return join(emit(f), data);
  }
  // A UDP-like payload; net/ does not look into it.
  Status send_udp(Ipv4Address to, uint32_t payload, bool dont_fragment = false) {
    auto path = network.find_path(to);
    if (!path) return path.error();
    buf::Packet p;
    net::Network::begin(p);
    memory.bytes = pattern(payload, 9);
    copy_bytes(p.append_header(8), pattern(8, 7));
    if (payload > 0) p.append_part({0, payload, 1});
    net::Ipv4Header h{path->source, to, wire::kProtocolUdp};
    h.dont_fragment = dont_fragment;
    return network.send(now, *path, h, p);
  }
  uint64_t drops(Drop d) const { return counters.dropped(d); }

  Instant now = Instant::from_ns(1'000'000'000);
  OneRegion memory;
  FakeHost host{memory};
  Counters counters;
  net::Network network{host, memory, counters, 42};
};

}  // namespace ferry::test

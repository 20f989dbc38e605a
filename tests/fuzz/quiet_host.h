// A host for net::Network that checks what it is told and keeps nothing but loopback packets.
#pragma once

#include <vector>

#include "fuzz_input.h"
#include "net/network.h"

namespace ferry::fuzz {

struct NoMemory : buf::Memory {
  virtual ~NoMemory() = default;
  ByteSpan read(const buf::IoDesc&) const override { return {}; }
  MutableByteSpan write(const buf::IoDesc&) override { return {}; }
};

struct QuietHost : net::NetworkHost {
  virtual ~QuietHost() = default;
  static std::vector<std::byte> flatten(const buf::Packet& p) {
    check(p.header_length <= buf::Packet::kMaxHeaderBytes && p.part_count == 0);
    check(p.payload_length == p.tail.size());
    std::vector<std::byte> out(p.headers.begin(), p.headers.begin() + p.header_length);
    out.insert(out.end(), p.tail.begin(), p.tail.end());
    return out;
  }
  Status transmit(net::LinkIndex, const buf::Packet& frame) override {
    const auto bytes = flatten(frame);
    check(bytes.size() <= 1514);
    auto ethernet = wire::EthernetView::parse(bytes);
    check(ethernet.ok());
    if (ethernet->type() == wire::kEtherIpv4) {
      auto ip = wire::Ipv4View::parse(ethernet->payload());
      check(ip.ok() && ip->checksum_ok());
    }
    ++transmitted;
    return {};
  }
  Status loop_back(net::LinkIndex, const buf::Packet& packet) override {
    if (looped.size() > 16) return Errc::no_buffers;
    looped.push_back(flatten(packet));
    return {};
  }
  bool on_datagram(Instant now, const net::Datagram& d) override {
    check(d.ip.total_length() == 0 ? d.offload.uncut_v4() : d.payload().size() == size_t{d.ip.total_length()} - d.ip.header_length());
    check(!d.ip.is_fragment());
    if (network != nullptr) network->send_unreachable(now, d, wire::kPortUnreachable);
    return d.ip.protocol() == wire::kProtocolUdp;
  }
  void on_icmp_error(Instant, const net::IcmpError& e) override { check(e.error != Errc::ok); }
  void on_echo_reply(Instant, const net::Datagram&, const wire::IcmpView&) override {}
  void on_address(net::LinkIndex, bool, const wire::MacAddress&) override {}

  net::Network* network = nullptr;
  std::vector<std::vector<std::byte>> looped;
  uint64_t transmitted = 0;
};

}  // namespace ferry::fuzz

// Frames for link tests, built by hand with the wire/ fields, and a region of payload to send them from.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/rng.h"
#include "buf/packet.h"
#include "link/link.h"
#include "wire/checksum.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace ferry::link::testing {

using Bytes = std::vector<std::byte>;

inline Bytes random_bytes(size_t n, uint64_t seed) {
  Rng rng(seed);
  Bytes b(n);
  for (auto& x : b) x = std::byte{static_cast<uint8_t>(rng.next())};
  return b;
}

// Region 1 is `bytes`; nothing else exists.
class OneRegion final : public buf::Memory {
 public:
  explicit OneRegion(Bytes b = {}) : bytes(std::move(b)) {}
  Bytes bytes;
  ByteSpan read(const buf::IoDesc& d) const override {
    if (d.region != 1 || d.offset > bytes.size() || d.length > bytes.size() - d.offset) return {};
    return ByteSpan(bytes).subspan(d.offset, d.length);
  }
  MutableByteSpan write(const buf::IoDesc&) override { return {}; }
};

// Both ends of a conversation, as seen by Ferry.
struct Path {
  wire::MacAddress our_mac, their_mac;
  wire::Ipv4Address ours = wire::Ipv4Address::of(10, 77, 0, 2), theirs = wire::Ipv4Address::of(10, 77, 0, 1);
  uint16_t our_port = 4000, their_port = 5000;
};

enum class Checksums { complete, left_to_link, wrong };

// Ethernet and IPv4 in front of `transport_bytes` of transport header and payload.
inline void put_network(buf::Packet& p, const Path& path, uint8_t protocol, size_t transport_bytes) {
  p.header_length = p.part_count = 0;
  p.payload_length = 0;
  p.tail = {};
  p.offload = {};
  wire::EthernetFields{path.their_mac, path.our_mac, wire::kEtherIpv4}.emit(p.append_header(wire::kEthernetHeaderBytes));
  wire::Ipv4Fields ip;
  const size_t total = wire::kIpv4HeaderBytes + transport_bytes;
  ip.total_length = total <= buf::kMaxIpPacket ? static_cast<uint16_t>(total) : 0;
  ip.identification = 77;
  ip.protocol = protocol;
  ip.source = path.ours;
  ip.destination = path.theirs;
  ip.emit(p.append_header(wire::kIpv4HeaderBytes));
}

// Writes the transport checksum of headers [34, …) and `payload`, or leaves it to the link.
inline void put_checksum(buf::Packet& p, const Path& path, uint8_t protocol, size_t field, ByteSpan payload, Checksums how) {
  const size_t start = 34;
  const MutableByteSpan header(p.headers.data() + start, p.header_length - start);
  store_be16(header, field, 0);
  wire::Checksum sum = wire::pseudo_header(path.ours, path.theirs, protocol, static_cast<uint32_t>(header.size() + payload.size()));
  if (how == Checksums::left_to_link) {
    p.offload.needs_checksum = true;
    p.offload.checksum_start = start;
    p.offload.checksum_offset = static_cast<uint16_t>(field);
    store_be16(header, field, sum.partial());
    return;
  }
  sum.add(header);
  sum.add(payload);
  store_be16(header, field, static_cast<uint16_t>(sum.finish() + (how == Checksums::wrong ? 1 : 0)));
}

// A UDP datagram with the payload `d` of `memory`; gso_size 0: one datagram.
inline buf::Packet udp_packet(const Path& path, const OneRegion& memory, const buf::IoDesc& d, Checksums how, uint16_t gso_size = 0) {
  buf::Packet p;
  put_network(p, path, wire::kProtocolUdp, wire::kUdpHeaderBytes + d.length);
  wire::UdpFields u;
  u.source_port = path.our_port;
  u.destination_port = path.their_port;
  u.length = static_cast<uint16_t>(wire::kUdpHeaderBytes + d.length);
  u.emit(p.append_header(wire::kUdpHeaderBytes));
  put_checksum(p, path, wire::kProtocolUdp, wire::kUdpChecksumOffset, memory.read(d), how);
  p.append_part(d);
  if (gso_size != 0) {
    p.offload.gso_type = buf::GsoType::udp_l4;
    p.offload.gso_size = gso_size;
  }
  return p;
}

inline buf::Packet tcp_packet(const Path& path, const OneRegion& memory, const buf::IoDesc& d, wire::TcpFields t, Checksums how,
                              uint16_t gso_size = 0) {
  buf::Packet p;
  t.source_port = path.our_port;
  t.destination_port = path.their_port;
  if (t.window == 0) t.window = 65535;
  put_network(p, path, wire::kProtocolTcp, t.size() + d.length);
  t.emit(p.append_header(t.size()));
  put_checksum(p, path, wire::kProtocolTcp, wire::kTcpChecksumOffset, memory.read(d), how);
  if (!d.empty()) p.append_part(d);
  if (gso_size != 0 && d.length > gso_size) {
    p.offload.gso_type = buf::GsoType::tcp_v4;
    p.offload.gso_size = gso_size;
  }
  return p;
}

// The whole packet as one frame.
inline Bytes flatten(const buf::Packet& p, const buf::Memory& memory) {
  Bytes out(p.headers.begin(), p.headers.begin() + p.header_length);
  for (size_t i = 0; i < p.part_count; ++i) {
    const ByteSpan s = memory.read(p.parts[i]);
    out.insert(out.end(), s.begin(), s.end());
  }
  out.insert(out.end(), p.tail.begin(), p.tail.end());
  return out;
}

// Whether Ethernet/IPv4/{TCP,UDP} in `frame` is well formed with all its checksums right.
inline bool checksums_right(ByteSpan frame) {
  const auto ip = wire::Ipv4View::parse(frame.subspan(wire::kEthernetHeaderBytes));
  if (!ip.ok() || !ip->checksum_ok()) return false;
  const ByteSpan segment = ip->payload();
  return wire::checksum_ok(wire::pseudo_header(ip->source(), ip->destination(), ip->protocol(), static_cast<uint32_t>(segment.size())),
                           segment);
}

// Keeps copies of what arrives.
struct Collector final : FrameSink {
  struct Kept {
    Bytes bytes;
    buf::Offload offload;
  };
  std::vector<Kept> frames;
  void on_frame(const buf::Frame& f) override { frames.push_back({Bytes(f.bytes.begin(), f.bytes.end()), f.offload}); }
};

}  // namespace ferry::link::testing

// Frames as they come from a link, through Ethernet, IPv4, reassembly, ICMP and our answers. Checksums are put right for half of
// them, so that the inside is reached. Input: length-prefixed frames.
#include "quiet_host.h"
#include "wire/checksum.h"

namespace {

using namespace ferry;

// Makes the header checksums of a frame right, as far as its lengths allow.
void mend(MutableByteSpan frame) {
  wire::store_mac(frame, 0, {{2, 0, 0, 0, 0, 1}});
  store_be16(frame, 12, wire::kEtherIpv4);
  const MutableByteSpan packet = frame.subspan(14);
  auto ip = wire::Ipv4View::parse(packet, true);
  if (!ip) return;
  store_be32(packet, 12, wire::Ipv4Address::of(10, 9, 0, 2).value);
  store_be32(packet, 16, wire::Ipv4Address::of(10, 9, 0, 1).value);
  store_be16(packet, 10, 0);
  wire::Checksum header;
  header.add(packet.first(ip->header_length()));
  store_be16(packet, 10, header.finish());
  if (ip->protocol() != wire::kProtocolIcmp || ip->is_fragment() || ip->payload().size() < 8) return;
  const MutableByteSpan message = packet.subspan(ip->header_length(), ip->payload().size());
  store_be16(message, 2, 0);
  wire::Checksum sum;
  sum.add(message);
  store_be16(message, 2, sum.finish());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::FuzzInput in(data, size);
  fuzz::NoMemory memory;
  fuzz::QuietHost host;
  Counters counters;
  net::Network network(host, memory, counters, 1);
  host.network = &network;
  net::Interface interface;
  interface.mac = {{2, 0, 0, 0, 0, 1}};
  interface.prefix = {wire::Ipv4Address::of(10, 9, 0, 1), 24};
  Instant now;
  fuzz::check(network.add_interface(now, interface).ok());
  while (!in.empty()) {
    const uint8_t control = in.u8();
    const ByteSpan bytes = in.bytes(in.u16() % 2048);
    std::vector<std::byte> frame(bytes.begin(), bytes.end());
    if ((control & 64) != 0 && frame.size() >= 34) frame.resize(70'000);  // longer than a packet can say
    if ((control & 1) != 0 && frame.size() >= 34) mend(frame);
    buf::Frame f{frame, {}};
    if ((control & 32) != 0) f.offload.gso_type = buf::GsoType::tcp_v4, f.offload.gso_size = 1448;
    f.offload.checksum_valid = (control & 2) != 0;
    f.offload.needs_checksum = (control & 4) != 0;
    f.offload.checksum_start = control;
    network.on_frame(now, 0, f);
    for (uint32_t i = 0; i < host.looped.size() && i < 64; ++i) {
      const std::vector<std::byte> looped = host.looped[i];
      network.on_loopback(now, 0, buf::Frame{looped, {}});
    }
    host.looped.clear();
    if ((control & 8) != 0) {
      now = now + Duration::seconds(10);
      network.on_timer(now);
    }
  }
  return 0;
}

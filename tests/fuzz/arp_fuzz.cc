// ARP: any packets at any time, while datagrams wait for answers. The table stays within its bounds and the clock always moves on.
#include "quiet_host.h"
#include "wire/arp.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ferry;
  using fuzz::check;
  fuzz::FuzzInput in(data, size);
  fuzz::NoMemory memory;
  fuzz::QuietHost host;
  Counters counters;
  net::Network network(host, memory, counters, 1);
  net::Interface interface;
  interface.mac = {{2, 0, 0, 0, 0, 1}};
  interface.prefix = {wire::Ipv4Address::of(10, 9, 0, 1), 24};
  Instant now;
  check(network.add_interface(now, interface, in.u8() % 2 == 0).ok());
  while (!in.empty()) {
    const uint8_t what = in.u8();
    const auto address = [&] {  // mostly neighbours
      const uint8_t last = in.u8();
      return last == 0 ? wire::Ipv4Address{in.u32()} : wire::Ipv4Address::of(10, 9, 0, last % 16);
    };
    switch (what % 4) {
      case 0: {
        wire::ArpFields arp;
        arp.operation = in.u8() % 4;
        arp.sender_mac.octets = {2, 0, 0, 0, 0, in.u8()};
        arp.sender_ip = address();
        arp.target_ip = address();
        std::byte frame[42];
        const wire::MacAddress to = (what & 4) != 0 ? wire::MacAddress::broadcast() : interface.mac;
        wire::EthernetFields{to, arp.sender_mac, wire::kEtherArp}.emit(frame);
        arp.emit(MutableByteSpan(frame).subspan(14));
        network.on_frame(now, 0, buf::Frame{frame, {}});
        break;
      }
      case 1: {
        std::byte frame[64] = {};
        const ByteSpan raw = in.bytes(50);
        wire::EthernetFields{wire::MacAddress::broadcast(), {{2, 0, 0, 0, 0, 7}}, wire::kEtherArp}.emit(frame);
        copy_bytes(MutableByteSpan(frame).subspan(14), raw);
        network.on_frame(now, 0, buf::Frame{ByteSpan(frame, 14 + raw.size()), {}});
        break;
      }
      case 2: {
        const wire::Ipv4Address to = address();
        auto path = network.find_path(to);
        if (!path) break;
        buf::Packet packet;
        net::Network::begin(packet);
        packet.append_header(8);
        (void)network.send(now, *path, {path->source, to, wire::kProtocolUdp}, packet);
        break;
      }
      default: {
        now = now + Duration::ms(in.u8() * 50);
        for (int i = 0; network.next_deadline() <= now; ++i) {
          check(i < 10000);
          network.on_timer(now);
        }
      }
    }
  }
  uint32_t neighbours = 0;
  network.for_each_neighbor([&](net::LinkIndex, const net::Neighbor& n) {
    ++neighbours;
    check(n.waiting_count <= net::NeighborTable::kMaxWaiting);
    check(!n.has_mac() || n.waiting_count == 0);
  });
  check(neighbours <= net::NeighborTable::kMaxNeighbors);
  return 0;
}

// A whole stack with a listener, a connected client, a datagram socket and a ping: random frames, most of them with addresses, ports and
// checksums put right, among random calls and the passing of time. Input: operations.
#include <vector>

#include "fuzz_input.h"
#include "stack/stack.h"
#include "support/memory_host.h"
#include "wire/arp.h"
#include "wire/checksum.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

namespace {

using namespace ferry;

const wire::Ipv4Address kUs = wire::Ipv4Address::of(10, 9, 0, 1), kPeer = wire::Ipv4Address::of(10, 9, 0, 2);
const wire::MacAddress kOurMac{{2, 0, 0, 0, 0, 1}}, kPeerMac{{2, 0, 0, 0, 0, 2}};

// What the stack last said in TCP: so that answers can hit the window.
struct LastSegment {
  uint16_t local_port = 80, remote_port = 5000;
  uint32_t sequence = 0, acknowledgment = 0;
};

void note(const std::vector<std::byte>& frame, LastSegment& last) {
  if (frame.size() < 14 || load_be16(frame, 12) != wire::kEtherIpv4) return;
  auto ip = wire::Ipv4View::parse(ByteSpan(frame).subspan(14));
  fuzz::check(ip.ok());
  if (ip->protocol() != wire::kProtocolTcp) return;
  auto tcp = wire::TcpView::parse(ip->payload());
  fuzz::check(tcp.ok());
  last = {tcp->source_port(), tcp->destination_port(),
          tcp->sequence().value() + static_cast<uint32_t>(tcp->payload().size()) + ((tcp->flags() & 3) != 0 ? 1u : 0u),
          tcp->acknowledgment().value()};
}

std::vector<std::byte> tcp_frame(fuzz::FuzzInput& in, const LastSegment& last) {
  wire::TcpFields tcp;
  const uint8_t how = in.u8();
  tcp.source_port = last.remote_port;
  tcp.destination_port = (how & 1) != 0 ? 80 : last.local_port;
  tcp.sequence = wire::SeqNum(last.acknowledgment + static_cast<uint32_t>(static_cast<int8_t>((how & 2) != 0 ? in.u8() : 0)));
  tcp.acknowledgment = wire::SeqNum(last.sequence + static_cast<uint32_t>(static_cast<int8_t>((how & 4) != 0 ? in.u8() : 0)));
  tcp.flags = in.u8();
  tcp.window = (how & 8) != 0 ? in.u16() : 65535;
  tcp.urgent_pointer = (how & 16) != 0 ? in.u16() : 0;
  std::vector<std::byte> options;
  if ((how & 32) != 0) {
    const ByteSpan o = in.bytes(in.u8() % 11 * 4);
    options.assign(o.begin(), o.end());
    options.resize((options.size() + 3) / 4 * 4);
  }
  const ByteSpan payload = in.bytes((how & 64) != 0 ? in.u16() % 3000 : 0);
  std::vector<std::byte> frame(54);
  wire::EthernetFields{kOurMac, kPeerMac, wire::kEtherIpv4}.emit(frame);
  tcp.emit(MutableByteSpan(frame).subspan(34));
  store_u8(frame, 46, static_cast<uint8_t>((20 + options.size()) / 4 << 4));
  frame.insert(frame.end(), options.begin(), options.end());
  frame.insert(frame.end(), payload.begin(), payload.end());
  wire::Ipv4Fields ip;
  ip.protocol = wire::kProtocolTcp;
  ip.source = kPeer;
  ip.destination = kUs;
  ip.total_length = static_cast<uint16_t>(frame.size() - 14);
  ip.emit(MutableByteSpan(frame).subspan(14));
  const auto segment = MutableByteSpan(frame).subspan(34);
  wire::Checksum sum = wire::pseudo_header(kPeer, kUs, wire::kProtocolTcp, static_cast<uint32_t>(segment.size()));
  sum.add(segment);
  store_be16(segment, 16, sum.finish());
  return frame;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::FuzzInput in(data, size);
  support::MemoryHost host;
  LastSegment last;
  stack::Owner owners = 1;
  std::vector<stack::SocketId> sockets;
  host.transmit_hook = [&](stack::LinkIndex, const std::vector<std::byte>& frame, const buf::Offload&) {
    note(frame, last);
    return Status();
  };
  host.incoming_hook = [&](stack::Owner, stack::SocketId, const wire::Endpoint&, const wire::Endpoint&) { return owners++; };
  stack::Config config;
  config.max_sockets = 32;
  config.max_orphans = 4;
  config.max_time_wait = 8;
  config.loopback_bytes = 256 * 1024;
  auto made = stack::Stack::create(config, host);
  fuzz::check(made.ok());
  stack::Stack& s = **made;
  Instant now;
  stack::InterfaceConfig interface;
  interface.mac = kOurMac;
  interface.prefix = {kUs, 24};
  fuzz::check(s.add_interface(now, interface).ok());
  const auto call = [&](stack::CallOp op, stack::SocketId socket, int64_t number, const wire::Endpoint& end) {
    stack::Call c;
    c.op = op;
    c.socket = socket;
    c.number = number;
    c.local = c.remote = c.info.remote = end;
    c.owner = owners;
    if (op == stack::CallOp::open) {
      c.type = static_cast<stack::SocketType>(number % 3);
      ++owners;
    }
    return s.call(now, c);
  };
  const wire::Endpoint any{{}, 80}, peer{wire::IpAddress::from(kPeer), 5000};
  sockets.push_back(call(stack::CallOp::open, 0, 0, {}).socket);
  call(stack::CallOp::bind, sockets[0], 0, any);
  call(stack::CallOp::listen, sockets[0], 4, {});
  sockets.push_back(call(stack::CallOp::open, 0, 1, {}).socket);
  call(stack::CallOp::bind, sockets[1], 0, any);
  // The neighbour makes itself known.
  std::vector<std::byte> arp(42);
  wire::EthernetFields{wire::MacAddress::broadcast(), kPeerMac, wire::kEtherArp}.emit(arp);
  wire::ArpFields{wire::kArpRequest, kPeerMac, kPeer, {}, kUs}.emit(MutableByteSpan(arp).subspan(14));
  s.on_frame(now, 0, {arp, {}});

  for (int operations = 0; !in.empty() && operations < 400; ++operations) {
    const uint8_t what = in.u8();
    const stack::SocketId socket = sockets[in.u8() % sockets.size()];
    switch (what % 8) {
      case 0: {  // anything
        const ByteSpan bytes = in.bytes(in.u16() % 2048);
        buf::Frame f{bytes, {}};
        f.offload.checksum_valid = (what & 128) != 0;
        s.on_frame(now, 0, f);
        break;
      }
      case 1:
      case 2:
      case 3: {
        const std::vector<std::byte> frame = tcp_frame(in, last);
        buf::Frame whole{frame, {}};
        whole.offload.needs_checksum = (what & 64) != 0;
        auto owner = (what & 128) != 0 ? s.payload_owner(0, whole, static_cast<uint32_t>(frame.size()))
                                       : Result<stack::PayloadOwner>(Errc::not_supported);
        if (!owner) {
          s.on_frame(now, 0, whole);
          break;
        }
        fuzz::check(owner->owner != 0 && owner->header_length <= frame.size());
        const std::vector<std::byte> payload(frame.begin() + owner->header_length, frame.end());
        s.on_frame(now, 0, {ByteSpan(frame).first(owner->header_length), whole.offload, payload});
        break;
      }
      case 4:  // time passes
        now = now + Duration::us(int64_t{in.u16()} * (what & 128 ? 1000 : 1));
        for (int i = 0; i < 50 && s.next_deadline() <= now; ++i) s.on_timer(now);
        break;
      case 5: {  // data
        const auto room = s.send_space(socket);
        auto info = s.socket_info(socket, now);
        if (room == 0 || !info) break;
        const std::vector<std::byte> bytes(1 + in.u16() % (room < 20'000 ? room : 20'000), std::byte{what});
        stack::Call c;
        c.op = stack::CallOp::send;
        c.socket = socket;
        c.flags = in.u8() & 3;
        c.data = host.provide(info->owner, bytes);
        if (s.call(now, c).error != Errc::ok) host.withdraw(info->owner);
        break;
      }
      case 6: {  // read what there is
        auto info = s.socket_info(socket, now);
        if (!info || info->owner == 0) break;
        call(stack::CallOp::consumed, socket, static_cast<int64_t>(host.take(info->owner, 1 + in.u16()).size()), {});
        break;
      }
      case 7: {
        const uint8_t op = in.u8() % 15;
        const auto kind = static_cast<stack::CallOp>(op);
        if (kind == stack::CallOp::set_owner || kind == stack::CallOp::send || kind == stack::CallOp::consumed) break;
        const stack::CallResult r = call(kind, socket, in.u8(), (what & 128) != 0 ? peer : wire::Endpoint{{}, in.u16()});
        if (r.error == Errc::ok && r.socket != 0 && sockets.size() < 64) sockets.push_back(r.socket);
        break;
      }
    }
    fuzz::check(host.faults().empty());
  }
  ferry::destroy(&s);
  return 0;
}

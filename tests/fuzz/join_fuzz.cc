// Joined delivery is separate delivery: two stacks with the same connection get the same frames, one of them as they are, the other
// as link/join.h joins them; the same bytes must come out, and the same state. Input: operations that make frames of one stream, most of them
// in order, some of them with wrong checksums, odd flags or gaps.
#include <memory>
#include <vector>

#include "fuzz_input.h"
#include "link/join.h"
#include "stack/stack.h"
#include "support/memory_host.h"
#include "wire/arp.h"
#include "wire/checksum.h"

namespace {

using namespace ferry;

const wire::Ipv4Address kUs = wire::Ipv4Address::of(10, 9, 0, 1), kPeer = wire::Ipv4Address::of(10, 9, 0, 2);
const wire::MacAddress kOurMac{{2, 0, 0, 0, 0, 1}}, kPeerMac{{2, 0, 0, 0, 0, 2}};
constexpr uint32_t kIss = 1000, kMostBytes = 50'000;  // well within the window, so that it never matters who opens it when

struct Shape {
  uint32_t sequence = 0, acknowledgment = 0, length = 0, ts_value = 1;
  uint8_t flags = 0x10, ttl = 64, tos = 0;
  bool wrong = false;
};

std::vector<std::byte> frame_of(const Shape& s) {
  wire::TcpFields tcp;
  tcp.source_port = 5000;
  tcp.destination_port = 80;
  tcp.sequence = wire::SeqNum(s.sequence);
  tcp.acknowledgment = wire::SeqNum(s.acknowledgment);
  tcp.flags = s.flags;
  tcp.window = 65535;
  tcp.options.has_timestamps = true;
  tcp.options.ts_value = s.ts_value;
  if ((s.flags & 2) != 0) tcp.options.mss = 1460;
  const size_t headers = 34 + tcp.size();
  std::vector<std::byte> f(headers + s.length);
  const MutableByteSpan bytes(f);
  wire::EthernetFields{kOurMac, kPeerMac, wire::kEtherIpv4}.emit(bytes);
  wire::Ipv4Fields ip;
  ip.total_length = static_cast<uint16_t>(f.size() - 14);
  ip.protocol = wire::kProtocolTcp;
  ip.source = kPeer;
  ip.destination = kUs;
  ip.ttl = s.ttl;
  ip.tos = s.tos;
  ip.dont_fragment = true;
  ip.emit(bytes.subspan(14));
  tcp.emit(bytes.subspan(34));
  for (uint32_t i = 0; i < s.length; ++i) f[headers + i] = std::byte{static_cast<uint8_t>((s.sequence + i) * 7 >> 3)};
  wire::Checksum sum = wire::pseudo_header(kPeer, kUs, wire::kProtocolTcp, static_cast<uint32_t>(f.size() - 34));
  sum.add(bytes.subspan(34));
  store_be16(bytes, 34 + 16, static_cast<uint16_t>(sum.finish() + (s.wrong ? 1 : 0)));
  return f;
}

// A stack with a listener on which the peer's connection was opened.
class End final : public link::JoinedSink {
 public:
  explicit End(bool joins) : joins_(joins), joiner_(*this) {
    host_.incoming_hook = [](stack::Owner, stack::SocketId, const wire::Endpoint&, const wire::Endpoint&) { return stack::Owner{2}; };
    host_.transmit_hook = [this](stack::LinkIndex, const std::vector<std::byte>& frame, const buf::Offload&) {
      if (load_be16(frame, 12) == wire::kEtherIpv4) ours_ = load_be32(frame, 38);
      return Status();
    };
    auto made = stack::Stack::create({}, host_);
    fuzz::check(made.ok());
    stack_ = *made;
    stack::InterfaceConfig interface;
    interface.mac = kOurMac;
    interface.prefix = {kUs, 24};
    fuzz::check(stack_->add_interface(now, interface).ok());
    stack::Call c;
    c.op = stack::CallOp::open;
    c.owner = 1;
    c.socket = stack_->call(now, c).socket;
    c.op = stack::CallOp::bind;
    c.local.port = 80;
    fuzz::check(stack_->call(now, c).error == Errc::ok);
    c.op = stack::CallOp::listen;
    c.number = 4;
    fuzz::check(stack_->call(now, c).error == Errc::ok);
    std::vector<std::byte> arp(42);
    wire::EthernetFields{wire::MacAddress::broadcast(), kPeerMac, wire::kEtherArp}.emit(arp);
    wire::ArpFields{wire::kArpRequest, kPeerMac, kPeer, {}, kUs}.emit(MutableByteSpan(arp).subspan(14));
    stack_->on_frame(now, 0, {arp, {}});
    Shape syn;
    syn.sequence = kIss;
    syn.flags = 2;
    stack_->on_frame(now, 0, {frame_of(syn), {}});
    c.op = stack::CallOp::accept;
    Shape ack;
    ack.sequence = kIss + 1;
    ack.acknowledgment = ours_ + 1;
    stack_->on_frame(now, 0, {frame_of(ack), {}});
    auto child = stack_->call(now, c);
    fuzz::check(child.error == Errc::ok);
    socket_ = child.socket;
    first_ = ours_ + 1;
  }
  virtual ~End() { ferry::destroy(stack_); }

  uint32_t first() const { return first_; }
  void batch(const std::vector<std::vector<std::byte>>& frames, const buf::Offload& offload) {
    for (const auto& f : frames) {
      if (joins_) joiner_.add({f, offload});
      else on_single({f, offload});
    }
    joiner_.flush();
    for (int i = 0; i < 20 && stack_->next_deadline() <= now; ++i) stack_->on_timer(now);
    fuzz::check(host_.faults().empty());
  }
  void on_single(const buf::Frame& f) override { stack_->on_frame(now, 0, f); }
  void on_joined(const link::Joined& j) override {
    std::vector<std::byte> payload;
    for (const auto& p : j.pieces) payload.insert(payload.end(), p.payload.begin(), p.payload.end());
    const auto length = static_cast<uint32_t>(j.head.bytes.size() + payload.size());
    auto owner = stack_->payload_owner(0, j.head, length);
    if (!owner) {
      for (const auto& p : j.pieces) on_single(p.frame);
      return;
    }
    fuzz::check(owner->header_length == j.head.bytes.size());
    buf::Frame f = j.head;
    f.detached = payload;
    on_single(f);
  }
  std::vector<std::byte> read() { return host_.take(2, SIZE_MAX); }
  // The connection's, or 0 when it is gone.
  int state() const {
    auto info = stack_->socket_info(socket_, now);
    return info ? 1 + static_cast<int>(info->tcp_state) : 0;
  }

  Instant now = Instant::from_ns(1'000'000'000);

 private:
  bool joins_;
  support::MemoryHost host_;
  stack::Stack* stack_ = nullptr;
  link::SegmentJoiner joiner_;
  uint32_t ours_ = 0, first_ = 0;
  stack::SocketId socket_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::FuzzInput in(data, size);
  End apart(false), joined(true);
  fuzz::check(apart.first() == joined.first());
  uint32_t sent = 0, bytes = 0;
  uint16_t usual = 1000;
  uint32_t clock = 1;  // a peer's timestamps do not go back (RFC 7323, 5.4): what PAWS rejects depends on what was acknowledged when
  while (!in.empty() && bytes < kMostBytes) {
    std::vector<std::vector<std::byte>> frames;
    const uint8_t how = in.u8();
    for (int n = how % 64; n >= 0 && !in.empty() && bytes < kMostBytes; --n) {
      Shape s;
      s.acknowledgment = apart.first();
      s.sequence = kIss + 1 + sent;
      s.length = usual;
      s.ts_value = clock;
      const uint8_t what = in.u8();
      switch (what % 16) {
        case 0: s.length = usual = static_cast<uint16_t>(1 + in.u16() % 1448); break;
        case 1: s.length = in.u8(); break;
        case 2: s.sequence += static_cast<uint32_t>(static_cast<int8_t>(in.u8())) * usual; break;
        case 3: s.flags = in.u8(); break;
        case 4: s.flags = static_cast<uint8_t>(0x10 | (in.u8() & 0x09)); break;
        case 5: s.wrong = true; break;
        case 6: s.ts_value = clock += in.u8(); break;
        case 7: s.tos = in.u8(); break;
        case 8: s.acknowledgment += in.u8(); break;
        default: break;
      }
      if (s.length > 1448) s.length = 1448;
      bytes += s.length;
      if (s.sequence == kIss + 1 + sent && !s.wrong) sent += s.length;
      frames.push_back(frame_of(s));
    }
    buf::Offload offload;
    offload.checksum_valid = (how & 64) != 0 && (how & 128) != 0;
    apart.batch(frames, offload);
    joined.batch(frames, offload);
    fuzz::check(apart.read() == joined.read());
    fuzz::check(apart.state() == joined.state());
    apart.now = joined.now = apart.now + Duration::us(in.u8());
  }
  return 0;
}

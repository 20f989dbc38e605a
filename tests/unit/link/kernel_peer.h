// A link under test with the Linux kernel's stack on the other side of it: 10.77.0.1 on "k0", Ferry's end as 10.77.0.2.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <functional>
#include <memory>
#include <optional>

#include "link/gso_limit.h"
#include "link/interface.h"
#include "link/open.h"
#include "unit/link/frames.h"
#include "unit/link/net_namespace.h"

namespace ferry::link::testing {

// A kernel socket in the peer's namespace.
class KernelSocket {
 public:
  KernelSocket() = default;
  explicit KernelSocket(int fd) : fd_(fd) {
    const timeval limit{3, 0};
    (void)::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    (void)::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  }
  KernelSocket(KernelSocket&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  ~KernelSocket() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }

 private:
  int fd_ = -1;
};

struct LinkKind {
  const char* name;
  bool tap = false;
  Options options;
  std::string ethtool;  // switches, for veth
  std::string kind = "packet";  // of the link on the veth
  uint32_t kernel_gso = 0;      // gso_ipv4_max_size of the kernel's end, 0: as it is
};

class KernelPeer {
 public:
  explicit KernelPeer(const LinkKind& kind) {
    if (kind.tap) {
      tap_kernel_.emplace();
      kernel_ = &*tap_kernel_;
      opened_.emplace(kernel_->run([&] { return open("tap:k0", kind.options); }));
      kernel_->shell("ip addr add 10.77.0.1/24 dev k0");
    } else {
      veth_.emplace(kind.ethtool);
      kernel_ = &veth_->kernel;
      opened_.emplace(veth_->ferry.run([&] { return open(kind.kind + ":f0", kind.options); }));
    }
    if (!opened_->ok()) return;
    path.our_mac = link().capabilities().mac;
    auto k0 = kernel_->run([] { return find_interface("k0"); });
    if (k0.ok()) path.their_mac = k0->mac;
    if (k0.ok() && kind.kernel_gso != 0 && !kernel_->run([&] { return raise_gso_limit(*k0, kind.kernel_gso); }).empty()) return;
    ready_ = k0.ok() && kernel_->shell("ip neigh replace 10.77.0.2 lladdr " + to_string(path.our_mac) + " dev k0 nud permanent");
  }

  bool ready() const { return ready_; }
  const std::string& error() const { return opened_->error(); }
  Link& link() { return ***opened_; }
  const NetNamespace& kernel() const { return *kernel_; }
  const NetNamespace& ferry() const { return veth_ ? veth_->ferry : *kernel_; }

  // A kernel socket bound to 10.77.0.1:their_port.
  KernelSocket socket(int type) const {
    return kernel_->run([&] {
      KernelSocket s(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
      const int one = 1;
      (void)::setsockopt(s.fd(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
      sockaddr_in a = address(path.theirs, path.their_port);
      if (::bind(s.fd(), reinterpret_cast<sockaddr*>(&a), sizeof a) != 0 || (type == SOCK_STREAM && ::listen(s.fd(), 4) != 0)) return KernelSocket();
      return s;
    });
  }
  static sockaddr_in address(wire::Ipv4Address ip, uint16_t port) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(port);
    a.sin_addr.s_addr = htonl(ip.value);
    return a;
  }

  // Receives until `done` or three seconds have passed. Returns done().
  bool receive_until(FrameSink& sink, const std::function<bool()>& done) {
    for (int turn = 0; turn < 300 && !done(); ++turn) {
      pollfd p{link().poll_fd(), POLLIN, 0};
      (void)::poll(&p, 1, 10);
      while (!done() && link().receive(sink, 64) > 0) {
      }
    }
    return done();
  }

  Path path;

 private:
  std::optional<NetNamespace> tap_kernel_;
  std::optional<VethPair> veth_;
  const NetNamespace* kernel_ = nullptr;
  std::optional<Outcome<std::unique_ptr<Link>>> opened_;
  bool ready_ = false;
};

// Just enough TCP to talk to a kernel that loses nothing: one connection, in order, no retransmission. Takes whole frames
// (FrameSink) and placed ones (PayloadPlacer).
class MiniTcp final : public FrameSink, public PayloadPlacer {
 public:
  explicit MiniTcp(KernelPeer& peer) : peer_(peer) {}

  bool connect() {
    wire::TcpFields syn;
    syn.flags = kSyn;
    syn.options.mss = 1460;
    syn.options.window_scale = 4;
    transmit(syn, {}, 0);
    sent_ = sent_ + 1;
    return peer_.receive_until(*this, [this] { return established_; });
  }
  // Sends [at, at + length) of `data` as one super-segment; waits until the kernel has acknowledged it.
  bool send(const OneRegion& data, uint32_t at, uint32_t length, uint16_t gso_size) {
    data_ = &data;
    wire::TcpFields t;
    t.flags = kAck | kPush;
    transmit(t, {at, length, 1}, gso_size);
    sent_ = sent_ + length;
    return peer_.receive_until(*this, [this] { return acknowledged_ == sent_; });
  }
  bool receive(size_t bytes) {
    return peer_.receive_until(*this, [&] { return received.size() >= bytes; });
  }

  Bytes received;
  uint32_t largest = 0;  // frame, bytes
  uint32_t super_frames = 0, plain_frames = 0, placed_frames = 0, bad_checksums = 0;
  uint32_t abandoned = 0;

 private:
  static constexpr uint8_t kSyn = 2, kPush = 8, kAck = 16;

  void transmit(wire::TcpFields t, const buf::IoDesc& d, uint16_t gso_size) {
    t.sequence = sent_;
    if (established_) t.acknowledgment = next_, t.flags |= kAck;
    static const OneRegion kNothing;
    const OneRegion& memory = data_ != nullptr ? *data_ : kNothing;
    const Checksums how = peer_.link().capabilities().checksum_tx ? Checksums::left_to_link : Checksums::complete;
    const buf::Packet p = tcp_packet(peer_.path, memory, d, t, how, gso_size);
    if (!peer_.link().send(p, memory).ok()) return;
    peer_.link().flush();
  }

  void on_frame(const buf::Frame& f) override { take(f, {}, {}, static_cast<uint32_t>(f.bytes.size())); }

  bool place(const buf::Frame& head, uint32_t frame_length, Place& place) override {
    if (!established_ || load_be16(head.bytes, 12) != wire::kEtherIpv4) return false;
    place.header_length = 34 + (load_u8(head.bytes, 46) >> 4) * 4u;
    const size_t n = frame_length - place.header_length;
    pool_.assign(n + 16, std::byte{0xee});
    // In two pieces, as in a ring of memory, with guards around each.
    place.first = MutableByteSpan(pool_).subspan(4, n / 3);
    place.second = MutableByteSpan(pool_).subspan(12 + n / 3, n - n / 3);
    place_ = place;
    return true;
  }
  void on_placed(const buf::Frame& headers, uint32_t frame_length) override {
    ++placed_frames;
    for (const size_t guard : {size_t{0}, 4 + place_.first.size(), pool_.size() - 4})
      for (size_t i = 0; i < 4; ++i)
        if (pool_[guard + i] != std::byte{0xee}) ++bad_checksums;
    take(headers, place_.first, place_.second, frame_length);
  }
  void on_abandoned() override { ++abandoned; }

  void take(const buf::Frame& f, ByteSpan more, ByteSpan rest, uint32_t frame_length) {
    if (frame_length < 54 || load_be16(f.bytes, 12) != wire::kEtherIpv4 || load_u8(f.bytes, 23) != wire::kProtocolTcp) return;
    Bytes whole(f.bytes.begin(), f.bytes.end());
    whole.insert(whole.end(), more.begin(), more.end());
    whole.insert(whole.end(), rest.begin(), rest.end());
    if (whole.size() != frame_length) ++bad_checksums;
    if (!f.offload.needs_checksum && !f.offload.checksum_valid && !checksums_right(whole)) ++bad_checksums;
    if (frame_length > largest) largest = frame_length;
    const auto ip = wire::Ipv4View::parse(ByteSpan(whole).subspan(14), f.offload.uncut_v4());
    const auto tcp = wire::TcpView::parse(ip->payload());
    if (tcp->destination_port() != peer_.path.our_port) return;
    ++(f.offload.gso_type == buf::GsoType::none ? plain_frames : super_frames);
    if ((tcp->flags() & kSyn) != 0) {
      established_ = true;
      next_ = tcp->sequence() + 1;
      transmit({}, {}, 0);
    }
    acknowledged_ = tcp->acknowledgment();
    if (tcp->payload().empty() || tcp->sequence() != next_) return;
    received.insert(received.end(), tcp->payload().begin(), tcp->payload().end());
    next_ = next_ + static_cast<uint32_t>(tcp->payload().size());
    transmit({}, {}, 0);
  }

  KernelPeer& peer_;
  const OneRegion* data_ = nullptr;
  bool established_ = false;
  wire::SeqNum sent_{1000}, acknowledged_, next_;
  Bytes pool_;
  Place place_;
};

}  // namespace ferry::link::testing

#include "link/xdp.h"

#include <linux/if_ether.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <vector>

#include "link/gather.h"
#include "link/xdp_filter.h"
#include "link/xdp_queue.h"
#include "port/api/log.h"
#include "wire/ethernet.h"

namespace ferry::link {
namespace {

constexpr uint32_t kVlanTagBytes = 4;
constexpr uint32_t kMostQueues = 64;
constexpr uint32_t kMostPieces = 17;  // of a frame that is sent: what the kernel takes (MAX_SKB_FRAGS)

class XdpLink final : public Link {
 public:
  XdpLink(const Interface& interface, const wire::MacAddress& mac, XdpFilter filter, Fd membership,
          std::vector<std::unique_ptr<XdpQueue>> queues)
      : name_("xdp:" + interface.name), filter_(std::move(filter)), membership_(std::move(membership)), queues_(std::move(queues)),
        staging_(buf::kMaxIpPacket + 64) {
    capabilities_.mac = mac;
    capabilities_.mtu = interface.mtu;
  }

  // Everything that one descriptor waits for. False: no descriptors.
  bool watch() {
    poll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
    for (const auto& q : queues_) {
      epoll_event e{};
      e.events = EPOLLIN;
      if (!poll_.ok() || ::epoll_ctl(poll_.get(), EPOLL_CTL_ADD, q->fd(), &e) != 0) return false;
    }
    return true;
  }

  const Capabilities& capabilities() const override { return capabilities_; }
  int poll_fd() const override { return poll_.get(); }
  bool wants_write() const override { return watching_output_; }
  const std::string& name() const override { return name_; }
  const Counters& counters() const override {
    counters_.rx_dropped = 0;
    for (const auto& q : queues_) counters_.rx_dropped += q->dropped();
    return counters_;
  }

  // All queues' frames leave by the first: they are of one thread.
  Status send(const buf::Packet& packet, const buf::Memory& memory) override {
    Gathered g;
    const bool plain = packet.offload.gso_type == buf::GsoType::none && !packet.offload.needs_checksum;
    if (!plain || packet.frame_length() > capabilities_.mtu + wire::kEthernetHeaderBytes || !gather(packet, memory, g)) {
      ++counters_.tx_errors;
      return Errc::malformed;
    }
    XdpQueue& q = *queues_.front();
    const auto length = static_cast<uint32_t>(g.bytes);
    const uint32_t pieces = (length + q.chunk_bytes() - 1) / q.chunk_bytes();
    if (!q.has_room(pieces)) return Errc::again;
    if (pieces == 1) {
      copy_gathered(g, q.room());
      q.push(length, false);
    } else {
      copy_gathered(g, staging_);
      for (uint32_t at = 0; at < length; at += q.chunk_bytes()) {
        const uint32_t n = length - at < q.chunk_bytes() ? length - at : q.chunk_bytes();
        copy_bytes(q.room(), ByteSpan(staging_).subspan(at, n));
        q.push(n, at + n < length);
      }
    }
    ++counters_.tx_frames;
    counters_.tx_bytes += length;
    return {};
  }

  void flush() override {
    XdpQueue& q = *queues_.front();
    q.kick();
    const bool full = q.wants_write() && !q.has_room(1);
    if (full == watching_output_) return;
    watching_output_ = full;
    epoll_event e{};
    e.events = watching_output_ ? EPOLLIN | EPOLLOUT : EPOLLIN;
    (void)::epoll_ctl(poll_.get(), EPOLL_CTL_MOD, q.fd(), &e);
  }

  uint32_t receive(FrameSink& sink, uint32_t budget) override {
    uint32_t received = 0;
    for (size_t i = 0; i < queues_.size() && received < budget; ++i) {
      next_queue_ = next_queue_ + 1 < queues_.size() ? next_queue_ + 1 : 0;
      received += receive_from(*queues_[next_queue_], sink, budget - received);
    }
    return received;
  }

 private:
  uint32_t receive_from(XdpQueue& q, FrameSink& sink, uint32_t budget) {
    uint32_t received = 0;
    XdpQueue::Received piece;
    while (received < budget && q.next(piece)) {
      ++received;
      if (!piece.more) {
        count(piece.bytes.size());
        sink.on_lasting_frame({piece.bytes, {}});
      } else {
        receive_large(q, piece, sink);
      }
    }
    if (received > 0) sink.on_batch_end();
    q.release();
    return received;
  }

  // A frame of several chunks is put together. The kernel has made all of them available at once.
  void receive_large(XdpQueue& q, XdpQueue::Received& piece, FrameSink& sink) {
    size_t length = 0;
    for (bool last = false; !last;) {
      last = !piece.more;
      const bool fits = piece.bytes.size() <= staging_.size() - length;
      if (fits) copy_bytes(MutableByteSpan(staging_).subspan(length), piece.bytes);
      length = fits ? length + piece.bytes.size() : staging_.size();
      if (!last && !q.next(piece)) return void(++counters_.rx_errors);
    }
    count(length);
    sink.on_frame({ByteSpan(staging_).first(length), {}});
  }

  void count(size_t length) {
    ++counters_.rx_frames;
    counters_.rx_bytes += length;
  }

  std::string name_;
  Capabilities capabilities_;
  mutable Counters counters_;
  XdpFilter filter_;
  Fd membership_, poll_;
  std::vector<std::unique_ptr<XdpQueue>> queues_;
  std::vector<std::byte> staging_;
  size_t next_queue_ = 0;
  bool watching_output_ = false;
};

// "queues=2,zerocopy". Empty: understood; else a sentence.
std::string parse(std::string_view words, XdpOptions& options) {
  while (!words.empty()) {
    const std::string_view word = words.substr(0, words.find(','));
    words.remove_prefix(word.size() < words.size() ? word.size() + 1 : word.size());
    constexpr std::string_view kQueues = "queues=";
    if (word == "copy") {
      options.copy = XdpOptions::Copy::copy;
    } else if (word == "zerocopy") {
      options.copy = XdpOptions::Copy::zerocopy;
    } else if (word.starts_with(kQueues)) {
      const char* end = word.data() + word.size();
      const auto [stop, code] = std::from_chars(word.data() + kQueues.size(), end, options.queues);
      if (code != std::errc() || stop != end || options.queues == 0 || options.queues > kMostQueues)
        return "\"" + std::string(word) + "\": the number of queues is 1 to " + std::to_string(kMostQueues);
    } else {
      return "\"" + std::string(word) + "\" is no option of an xdp link: there are queues=N, copy and zerocopy";
    }
  }
  return {};
}

// How the interface is served with these options. Empty: it can be.
std::string plan(const Interface& interface, XdpOptions& options, uint32_t& chunk_bytes) {
  if (options.queues > interface.receive_queues)
    return interface.name + " has " + std::to_string(interface.receive_queues) + " receive queues, not " + std::to_string(options.queues);
  if (options.queues == 0) options.queues = interface.receive_queues < kMostQueues ? interface.receive_queues : kMostQueues;
  const uint32_t frame = interface.mtu + wire::kEthernetHeaderBytes + kVlanTagBytes + XdpQueue::kHeadroom;
  constexpr uint32_t kKernelsTail = 320;  // of a page, in drivers: skb_shared_info
  options.large_frames = frame + kKernelsTail > XdpQueue::kChunkBytes;
  chunk_bytes = frame <= XdpQueue::kSmallChunkBytes ? XdpQueue::kSmallChunkBytes : XdpQueue::kChunkBytes;
  if (interface.mtu + wire::kEthernetHeaderBytes > kMostPieces * XdpQueue::kChunkBytes)
    return "an MTU of " + std::to_string(interface.mtu) + " bytes on " + interface.name + " is too large for an xdp link";
  return {};
}

}  // namespace

Outcome<std::unique_ptr<Link>> open_xdp(const std::string& spec, const Options& options) {
  using Fail = Outcome<std::unique_ptr<Link>>;
  const size_t comma = spec.find(',');
  XdpOptions xdp;
  if (comma != std::string::npos)
    if (auto error = parse(std::string_view(spec).substr(comma + 1), xdp); !error.empty()) return Fail::failure(error);
  wire::MacAddress mac;
  auto interface = choose_interface(spec.substr(0, comma), options, mac);
  if (!interface) return Fail::failure(interface.error());
  uint32_t chunk_bytes = 0;
  if (auto error = plan(*interface, xdp, chunk_bytes); !error.empty()) return Fail::failure(error);

  auto filter = XdpFilter::load({mac, options.address, options.all_frames, xdp.large_frames}, xdp.queues);
  if (!filter) return Fail::failure(filter.error());
  Fd membership(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));  // protocol 0: it receives nothing
  if (!membership.ok() || (mac != interface->mac && !accept_address(membership.get(), *interface, mac, options.all_frames)))
    return Fail::failure("cannot give " + interface->name + " a second address: " + std::strerror(errno));
  // In the driver first: zero copy depends on it.
  if (auto error = filter->attach(*interface); !error.empty()) return Fail::failure(error);
  std::vector<std::unique_ptr<XdpQueue>> queues;
  for (uint32_t i = 0; i < xdp.queues; ++i) {
    auto queue = XdpQueue::open(*interface, i, xdp, chunk_bytes);
    if (!queue) return Fail::failure(queue.error());
    if (!filter->serve(i, (*queue)->fd())) return Fail::failure("cannot give " + interface->name + "'s frames to a socket: " + std::strerror(errno));
    queues.push_back(std::move(*queue));
  }
  const bool zero_copy = queues.front()->zero_copy(), in_driver = filter->in_driver();
  auto link = std::make_unique<XdpLink>(*interface, mac, std::move(*filter), std::move(membership), std::move(queues));
  if (!link->watch()) return Fail::failure(std::string("cannot wait for an AF_XDP socket: ") + std::strerror(errno));
  port::log(port::LogLevel::info, "%s: %u queues, %s, %s", link->name().c_str(), xdp.queues, in_driver ? "in the driver" : "in front of the kernel's stack",
            zero_copy ? "without a copy" : "with a copy");
  if (interface->veth)
    port::log(port::LogLevel::warning, "%s: its peer must sum what it sends (ethtool -K PEER tx off): checksums that a veth leaves out do not come with the frames",
              link->name().c_str());
  return Outcome<std::unique_ptr<Link>>(std::move(link));
}

}  // namespace ferry::link

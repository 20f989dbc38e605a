#include "link/packet.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "link/frame_sender.h"
#include "link/gso_limit.h"
#include "link/interface.h"
#include "link/packet_ring.h"
#include "port/api/log.h"
#include "wire/ethernet.h"

namespace ferry::link {
namespace {

constexpr uint32_t kEmptyTurnsBeforeCheck = 256;  // of receive() in a row, before asking for a pending socket error

template <typename T>
bool set_option(int fd, int level, int option, const T& value) {
  return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
}

// Lets through frames for `mac` and for groups, and no VLAN-tagged ones: the kernel takes the tag off before packet sockets see
// the frame, which would then look like one of this network.
bool attach_filter(int fd, const wire::MacAddress& mac, bool all_frames) {
  const auto& o = mac.octets;
  const uint32_t high = static_cast<uint32_t>(o[0]) << 24 | o[1] << 16 | o[2] << 8 | o[3];
  const uint32_t low = static_cast<uint32_t>(o[4]) << 8 | o[5];
  constexpr uint32_t kVlanPresent = static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT);
  sock_filter addressed[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kVlanPresent), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 7),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, high, 0, 2),
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 4),            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, low, 2, 0),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),            BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 1, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0xffffffff),            BPF_STMT(BPF_RET | BPF_K, 0),
  };
  sock_filter any[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kVlanPresent), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0xffffffff),            BPF_STMT(BPF_RET | BPF_K, 0),
  };
  sock_fprog program{};
  program.len = static_cast<unsigned short>(all_frames ? std::size(any) : std::size(addressed));
  program.filter = all_frames ? any : addressed;
  return set_option(fd, SOL_SOCKET, SO_ATTACH_FILTER, program);
}

class PacketLink final : public Link {
 public:
  PacketLink(int fd, const Interface& interface, const wire::MacAddress& mac, uint32_t max_gso)
      : fd_(fd), name_("packet:" + interface.name), staging_(kStagingBytes), sender_(fd, interface.mtu, counters_) {
    capabilities_.mac = mac;
    capabilities_.mtu = interface.mtu;
    capabilities_.max_gso = max_gso;
    capabilities_.checksum_tx = capabilities_.checksum_rx = true;
    capabilities_.hardware_segmentation = interface.tso;
    capabilities_.hardware_checksum = interface.tx_checksum;
  }
  ~PacketLink() override { ::close(fd_); }

  void use_ring(PacketRing ring) { ring_.emplace(std::move(ring)); }

  const Capabilities& capabilities() const override { return capabilities_; }
  Status send(const buf::Packet& packet, const buf::Memory& memory) override { return sender_.send(packet, memory); }
  void flush() override { sender_.flush(); }
  bool wants_write() const override { return sender_.wants_write(); }
  int poll_fd() const override { return fd_; }
  const std::string& name() const override { return name_; }
  const Counters& counters() const override {
    add_drops();
    return counters_;
  }
  bool set_placer(PayloadPlacer* placer) override {
    if (!ring_) return false;
    placer_ = placer;
    return true;
  }

  uint32_t receive(FrameSink& sink, uint32_t budget) override {
    uint32_t received = 0;
    while (received < budget && (ring_ ? receive_from_ring(sink) : receive_plain(sink))) ++received;
    if (ring_) {
      sink.on_batch_end();
      ring_->release();
    }
    if (received != 0) {
      empty_turns_ = 0;
    } else if (++empty_turns_ >= kEmptyTurnsBeforeCheck) {
      empty_turns_ = 0;
      clear_error();
    }
    return received;
  }

 private:
  static constexpr size_t kStagingBytes = buf::kMaxSuperPacket + 64;

  bool receive_from_ring(FrameSink& sink) {
    PacketRing::Slot slot;
    if (!ring_->front(slot)) return false;
    if (slot.losing) add_drops();
    buf::Frame frame;
    frame.bytes = slot.bytes;
    if (slot.cut) {
      ++counters_.rx_dropped;
    } else if (!decode_vnet(slot.vnet, slot.length, frame.offload)) {
      ++counters_.rx_errors;
      if (slot.queued) discard_queued();
    } else if (slot.queued) {
      receive_queued(sink, frame, slot.length);
    } else {
      count(slot.length);
      sink.on_lasting_frame(frame);
    }
    ring_->pass_over();
    return true;
  }

  // A frame of more than a slot: the ring has its head, the socket's queue the whole of it.
  void receive_queued(FrameSink& sink, const buf::Frame& head, uint32_t length) {
    PayloadPlacer::Place place;
    if (placer_ != nullptr && placer_->place(head, length, place)) {
      if (receive_placed(head, length, place)) return;
      placer_->on_abandoned();
      ++counters_.rx_errors;
      return;
    }
    if (!receive_plain(sink)) ++counters_.rx_errors;
  }

  bool receive_placed(const buf::Frame& head, uint32_t length, const PayloadPlacer::Place& place) {
    const size_t room = place.first.size() + place.second.size();
    if (place.header_length > head.bytes.size() || place.header_length + room != length) {
      discard_queued();
      return false;
    }
    VnetHeader vnet;
    iovec pieces[4] = {{&vnet, sizeof vnet},
                       {staging_.data(), place.header_length},
                       {place.first.data(), place.first.size()},
                       {place.second.data(), place.second.size()}};
    msghdr message{};
    message.msg_iov = pieces;
    message.msg_iovlen = 4;
    const ssize_t got = ::recvmsg(fd_, &message, MSG_DONTWAIT | MSG_TRUNC);
    if (got != static_cast<ssize_t>(sizeof vnet + length)) return false;
    count(length);
    placer_->on_placed({head.bytes.first(place.header_length), head.offload}, length);
    return true;
  }

  bool receive_plain(FrameSink& sink) {
    VnetHeader vnet;
    iovec pieces[2] = {{&vnet, sizeof vnet}, {staging_.data(), staging_.size()}};
    msghdr message{};
    message.msg_iov = pieces;
    message.msg_iovlen = 2;
    const ssize_t got = ::recvmsg(fd_, &message, MSG_DONTWAIT | MSG_TRUNC);
    if (got < 0) {
      // EINVAL: a super-frame of a kind that this kernel cannot describe to us; it has been dropped.
      if (errno == EINVAL) ++counters_.rx_errors;
      return errno == EINVAL;
    }
    const size_t length = static_cast<size_t>(got) - sizeof vnet;
    buf::Frame frame;
    if (static_cast<size_t>(got) < sizeof vnet + wire::kEthernetHeaderBytes || length > staging_.size() ||
        !decode_vnet(vnet, static_cast<uint32_t>(length), frame.offload)) {
      ++counters_.rx_errors;
      return true;
    }
    frame.bytes = ByteSpan(staging_).first(length);
    count(length);
    sink.on_frame(frame);
    return true;
  }

  void discard_queued() { (void)!::recv(fd_, staging_.data(), 1, MSG_DONTWAIT | MSG_TRUNC); }

  void count(size_t length) {
    ++counters_.rx_frames;
    counters_.rx_bytes += length;
  }

  // Drops that the kernel counted for this socket since the last question.
  void add_drops() const {
    tpacket_stats stats{};
    socklen_t length = sizeof stats;
    if (::getsockopt(fd_, SOL_PACKET, PACKET_STATISTICS, &stats, &length) == 0) counters_.rx_dropped += stats.tp_drops;
  }

  // An interface that goes down leaves an error on the socket, which polls ready until somebody reads it.
  void clear_error() {
    int error = 0;
    socklen_t length = sizeof error;
    if (::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &length) != 0 || error == 0) return;
    ++counters_.rx_errors;
    port::log(port::LogLevel::warning, "%s: error %d (100: the interface went down)", name_.c_str(), error);
  }

  int fd_;
  std::string name_;
  Capabilities capabilities_;
  mutable Counters counters_;
  std::vector<std::byte> staging_;
  FrameSender sender_;
  std::optional<PacketRing> ring_;
  PayloadPlacer* placer_ = nullptr;
  uint32_t empty_turns_ = 0;
};

std::string open_error(const std::string& interface) {
  if (errno == EPERM || errno == EACCES)
    return "no permission to open a packet socket on " + interface + ": ferryd needs CAP_NET_RAW at start (run it as root)";
  return "cannot open a packet socket on " + interface + ": " + std::strerror(errno);
}

// Everything on the socket but its ring and its binding. Empty: done.
std::string configure(int fd, const Interface& interface, const wire::MacAddress& mac, const Options& options) {
  const int one = 1;
  const auto fail = [&](const char* what) {
    return std::string("cannot set ") + what + " on a packet socket for " + interface.name + ": " + std::strerror(errno);
  };
  if (!set_option(fd, SOL_PACKET, PACKET_VNET_HDR, one)) return fail("PACKET_VNET_HDR");
  if (!set_option(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, one)) return fail("PACKET_IGNORE_OUTGOING");
  const int bytes = static_cast<int>(options.receive_bytes / 2);  // the kernel doubles it
  if (!set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes)) (void)set_option(fd, SOL_SOCKET, SO_RCVBUF, bytes);
  if (!set_option(fd, SOL_SOCKET, SO_SNDBUFFORCE, bytes)) (void)set_option(fd, SOL_SOCKET, SO_SNDBUF, bytes);
  if (!attach_filter(fd, mac, options.all_frames)) return fail("a filter");
  const bool own_address = !options.interface_mac || options.all_frames;
  if (own_address && !accept_address(fd, interface, mac, options.all_frames)) return fail("a second address");
  return {};
}

// How long a frame may be that the interface cuts.
Outcome<uint32_t> settle_gso_limit(const Interface& interface, uint32_t wanted) {
  auto limit = gso_limit(interface);
  if (!limit && wanted == 0) {  // a confined ferryd need not have netlink
    port::log(port::LogLevel::warning, "packet:%s: %s; taken to be %u", interface.name.c_str(), limit.error().c_str(), kUsualGsoLimit);
    return Outcome<uint32_t>(kUsualGsoLimit);
  }
  if (!limit || wanted == 0) return limit;
  if (wanted > *limit)
    if (auto error = raise_gso_limit(interface, wanted); !error.empty()) return Outcome<uint32_t>::failure(error);
  return Outcome<uint32_t>(wanted);
}

}  // namespace

Outcome<std::unique_ptr<Link>> open_packet(const std::string& interface_name, const Options& options) {
  using Fail = Outcome<std::unique_ptr<Link>>;
  wire::MacAddress mac;
  auto interface = choose_interface(interface_name, options, mac);
  if (!interface) return Fail::failure(interface.error());
  auto limit = settle_gso_limit(*interface, options.gso_max_size);
  if (!limit) return Fail::failure(limit.error());

  // Protocol 0: nothing arrives before everything is set and bind() says so.
  const int fd = ::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return Fail::failure(open_error(interface_name));
  auto link = std::make_unique<PacketLink>(fd, *interface, mac, gso_payload(std::min(*limit, kMostGsoLimit)));
  if (auto error = configure(fd, *interface, mac, options); !error.empty()) return Fail::failure(error);
  if (!options.plain_receive) {
    auto ring = PacketRing::map(fd, options.receive_slots);
    if (ring) {
      link->use_ring(std::move(*ring));
    } else {
      port::log(port::LogLevel::warning, "packet:%s: no receive ring (%s), one system call a frame instead", interface_name.c_str(),
                ring.error().c_str());
    }
  }
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = interface->index;
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return Fail::failure(open_error(interface_name));
  return Outcome<std::unique_ptr<Link>>(std::move(link));
}

}  // namespace ferry::link

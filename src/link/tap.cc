#include "link/tap.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "link/gather.h"
#include "link/interface.h"
#include "wire/ethernet.h"

namespace ferry::link {
namespace {

constexpr uint32_t kMaxGso = 65000;
constexpr unsigned kUso4 = 0x20, kUso6 = 0x40;  // TUN_F_USO4, TUN_F_USO6, Linux 6.2

class TapLink final : public Link {
 public:
  TapLink(int fd, std::string name, const Capabilities& capabilities, bool all_frames)
      : fd_(fd), all_frames_(all_frames), name_(std::move(name)), capabilities_(capabilities), staging_(buf::kMaxSuperPacket + 64) {}
  ~TapLink() override { ::close(fd_); }

  const Capabilities& capabilities() const override { return capabilities_; }
  void flush() override {}
  int poll_fd() const override { return fd_; }
  bool wants_write() const override { return wants_write_; }
  const std::string& name() const override { return name_; }
  const Counters& counters() const override { return counters_; }

  Status send(const buf::Packet& packet, const buf::Memory& memory) override {
    Gathered g;
    const bool fits = packet.offload.gso_type != buf::GsoType::none ||
                      packet.frame_length() <= capabilities_.mtu + wire::kEthernetHeaderBytes;
    if (!fits || !gather(packet, memory, g)) return failed(Errc::malformed);
    const ssize_t n = ::writev(fd_, g.pieces.data(), static_cast<int>(g.count));
    if (n >= 0) {
      wants_write_ = false;
      ++counters_.tx_frames;
      counters_.tx_bytes += g.bytes;
      return {};
    }
    if (errno == EAGAIN || errno == EINTR) {
      wants_write_ = true;
      return Errc::again;
    }
    // EIO: the kernel's side is down. ENOBUFS, ENOMEM: no room in the kernel.
    if (errno == EIO || errno == ENOBUFS || errno == ENOMEM) {
      ++counters_.tx_dropped;
      return Errc::no_buffers;
    }
    return failed(Errc::malformed);
  }

  uint32_t receive(FrameSink& sink, uint32_t budget) override {
    uint32_t received = 0;
    for (; received < budget; ++received) {
      VnetHeader vnet;
      iovec pieces[2] = {{&vnet, sizeof vnet}, {staging_.data(), staging_.size()}};
      const ssize_t got = ::readv(fd_, pieces, 2);
      if (got < 0) break;
      buf::Frame frame;
      if (static_cast<size_t>(got) < sizeof vnet + wire::kEthernetHeaderBytes ||
          !decode_vnet(vnet, static_cast<uint32_t>(got) - sizeof vnet, frame.offload)) {
        ++counters_.rx_errors;
        continue;
      }
      frame.bytes = ByteSpan(staging_).first(static_cast<size_t>(got) - sizeof vnet);
      if (!for_us(frame.bytes)) continue;
      ++counters_.rx_frames;
      counters_.rx_bytes += frame.bytes.size();
      sink.on_frame(frame);
    }
    return received;
  }

 private:
  bool for_us(ByteSpan frame) const {
    if (all_frames_) return true;
    const wire::MacAddress to = wire::load_mac(frame, 0);
    return to == capabilities_.mac || to.is_group();
  }
  Errc failed(Errc code) {
    ++counters_.tx_errors;
    return code;
  }

  int fd_;
  bool all_frames_;
  std::string name_;
  Capabilities capabilities_;
  Counters counters_;
  std::vector<std::byte> staging_;
  bool wants_write_ = false;
};

// Sets IFF_UP on the kernel's side. Errors show when the interface is looked at afterwards.
void bring_up(const std::string& interface) {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  ifreq r{};
  std::memcpy(r.ifr_name, interface.data(), interface.size());
  if (::ioctl(fd, SIOCGIFFLAGS, &r) == 0) {
    r.ifr_flags |= IFF_UP;
    (void)::ioctl(fd, SIOCSIFFLAGS, &r);
  }
  ::close(fd);
}

// What the kernel may send unfinished: checksums, and TCP (and UDP, where known) super-segments.
bool set_offloads(int fd) {
  constexpr unsigned kTcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  return ::ioctl(fd, TUNSETOFFLOAD, kTcp | kUso4 | kUso6) == 0 || ::ioctl(fd, TUNSETOFFLOAD, kTcp) == 0;
}

}  // namespace

Outcome<std::unique_ptr<Link>> open_tap(const std::string& interface, const Options& options) {
  using Fail = Outcome<std::unique_ptr<Link>>;
  if (interface.empty() || interface.size() >= IFNAMSIZ) return Fail::failure("\"" + interface + "\" is not the name of a network interface");
  const int fd = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    if (errno == ENOENT) return Fail::failure("this machine has no TAP interfaces (/dev/net/tun is missing: load the tun module)");
    return Fail::failure(std::string("cannot open /dev/net/tun: ") + std::strerror(errno));
  }
  const auto fail = [&](const std::string& sentence) {
    ::close(fd);
    return Fail::failure(sentence);
  };
  ifreq r{};
  std::memcpy(r.ifr_name, interface.data(), interface.size());
  r.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(fd, TUNSETIFF, &r) != 0) {
    if (errno == EPERM) return fail("no permission to use TAP interface " + interface + ": ferryd needs CAP_NET_ADMIN at start (run it as root)");
    if (errno == EBUSY) return fail("TAP interface " + interface + " is in use by another program");
    if (errno == EINVAL) return fail("interface " + interface + " exists and is not a TAP interface with these properties");
    return fail("cannot use TAP interface " + interface + ": " + std::strerror(errno));
  }
  const int header_bytes = sizeof(VnetHeader);
  if (::ioctl(fd, TUNSETVNETHDRSZ, &header_bytes) != 0) return fail("cannot set the header size of " + interface + ": " + std::strerror(errno));
  const bool offloads = set_offloads(fd);
  bring_up(interface);
  auto found = find_interface(interface);
  if (!found) return fail(found.error());
  if (auto objection = objection_to(*found); !objection.empty()) return fail(objection);

  Capabilities capabilities;
  capabilities.mac = options.mac ? *options.mac : derive_mac(found->mac);
  if (capabilities.mac == found->mac && !options.all_frames) return fail("the address given for Ferry on " + interface + " is the kernel's own there");
  capabilities.mtu = found->mtu;
  capabilities.max_gso = kMaxGso;
  capabilities.checksum_tx = true;
  capabilities.checksum_rx = offloads;
  capabilities.hardware_segmentation = capabilities.hardware_checksum = offloads;
  return Outcome<std::unique_ptr<Link>>(std::make_unique<TapLink>(fd, "tap:" + interface, capabilities, options.all_frames));
}

}  // namespace ferry::link

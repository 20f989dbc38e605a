#include "link/interface.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/rng.h"
#include "link/open.h"

namespace ferry::link {
namespace {

class Socket {
 public:
  Socket() : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {}
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  bool ask(unsigned long request, ifreq& r) const { return ::ioctl(fd_, request, &r) == 0; }
  bool ok() const { return fd_ >= 0; }

 private:
  int fd_;
};

ifreq request_for(const std::string& name) {
  ifreq r{};
  std::memcpy(r.ifr_name, name.data(), name.size());
  return r;
}

// One of the ETHTOOL_G… questions that are answered by a number; an interface that does not know the question says no.
bool ethtool_flag(const Socket& socket, const std::string& name, uint32_t command) {
  ethtool_value value{};
  value.cmd = command;
  ifreq r = request_for(name);
  r.ifr_data = reinterpret_cast<char*>(&value);
  return socket.ask(SIOCETHTOOL, r) && value.data != 0;
}

// Of the interface, 1 when it cannot say.
uint32_t receive_queues(const Socket& socket, const std::string& name) {
  ethtool_channels channels{};
  channels.cmd = ETHTOOL_GCHANNELS;
  ifreq r = request_for(name);
  r.ifr_data = reinterpret_cast<char*>(&channels);
  const uint32_t n = socket.ask(SIOCETHTOOL, r) ? channels.rx_count + channels.combined_count : 1;
  return n > 0 ? n : 1;
}

bool has_driver(const Socket& socket, const std::string& name, const char* driver) {
  ethtool_drvinfo info{};
  info.cmd = ETHTOOL_GDRVINFO;
  ifreq r = request_for(name);
  r.ifr_data = reinterpret_cast<char*>(&info);
  return socket.ask(SIOCETHTOOL, r) && std::strcmp(info.driver, driver) == 0;
}

// Reads a switch below /proc/sys/net/ipv4/conf; -1 when it cannot be read.
int sysctl_switch(const std::string& interface, const char* name) {
  std::ifstream file("/proc/sys/net/ipv4/conf/" + interface + "/" + name);
  int value = -1;
  return file >> value ? value : -1;
}

}  // namespace

Outcome<Interface> find_interface(const std::string& name) {
  using Fail = Outcome<Interface>;
  if (name.empty() || name.size() >= IFNAMSIZ || name.find('/') != std::string::npos)
    return Fail::failure("\"" + name + "\" is not the name of a network interface");
  Socket socket;
  if (!socket.ok()) return Fail::failure(std::string("cannot ask about interfaces: ") + std::strerror(errno));

  Interface i;
  i.name = name;
  ifreq r = request_for(name);
  if (!socket.ask(SIOCGIFINDEX, r)) {
    return Fail::failure(errno == ENODEV ? "there is no network interface \"" + name + "\" in this network namespace"
                                         : "cannot ask about interface " + name + ": " + std::strerror(errno));
  }
  i.index = r.ifr_ifindex;
  r = request_for(name);
  if (!socket.ask(SIOCGIFHWADDR, r)) return Fail::failure("interface " + name + " has gone");
  if (r.ifr_hwaddr.sa_family != ARPHRD_ETHER) return Fail::failure("interface " + name + " is not an Ethernet interface");
  std::memcpy(i.mac.octets.data(), r.ifr_hwaddr.sa_data, i.mac.octets.size());
  r = request_for(name);
  if (!socket.ask(SIOCGIFMTU, r)) return Fail::failure("interface " + name + " has gone");
  i.mtu = static_cast<uint32_t>(r.ifr_mtu);
  r = request_for(name);
  if (!socket.ask(SIOCGIFFLAGS, r)) return Fail::failure("interface " + name + " has gone");
  i.up = (r.ifr_flags & IFF_UP) != 0;
  i.receive_queues = receive_queues(socket, name);
  i.veth = has_driver(socket, name, "veth");
  i.tx_checksum = ethtool_flag(socket, name, ETHTOOL_GTXCSUM);
  i.tso = ethtool_flag(socket, name, ETHTOOL_GTSO);
  return i;
}

std::string objection_to(const Interface& i) {
  if (!i.up) return "interface " + i.name + " is down: \"ip link set " + i.name + " up\" first";
  if (i.mtu < kMinMtu)
    return "interface " + i.name + " has an MTU of " + std::to_string(i.mtu) + " bytes; Ferry needs at least " + std::to_string(kMinMtu);
  return {};
}

std::string objection_to_sharing_mac(const Interface& i) {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return std::string("cannot list the kernel's addresses: ") + std::strerror(errno);
  std::string owned;
  for (const ifaddrs* a = list; a != nullptr; a = a->ifa_next) {
    if (a->ifa_addr == nullptr || a->ifa_addr->sa_family != AF_INET || i.name != a->ifa_name) continue;
    sockaddr_in v4{};
    std::memcpy(&v4, a->ifa_addr, sizeof v4);
    char text[INET_ADDRSTRLEN] = {};
    ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    owned = text;
    break;
  }
  ::freeifaddrs(list);
  const std::string so = "; use an address of Ferry's own (without --mac interface)";
  if (!owned.empty()) return "the kernel has the address " + owned + " on " + i.name + " and would answer for Ferry" + so;
  const int forwarding = sysctl_switch(i.name, "forwarding");
  if (forwarding > 0) return "the kernel forwards packets on " + i.name + " and would send Ferry's on" + so;
  if (forwarding < 0) return "cannot tell whether the kernel forwards packets on " + i.name + " (no /proc/sys)" + so;
  return {};
}

Outcome<Interface> choose_interface(const std::string& name, const Options& options, wire::MacAddress& mac) {
  using Fail = Outcome<Interface>;
  auto interface = find_interface(name);
  if (!interface) return interface;
  if (auto objection = objection_to(*interface); !objection.empty()) return Fail::failure(objection);
  mac = options.mac ? *options.mac : derive_mac(interface->mac);
  if (options.interface_mac) mac = interface->mac;
  if (mac == interface->mac && !options.all_frames)
    if (auto objection = objection_to_sharing_mac(*interface); !objection.empty()) return Fail::failure(objection);
  return interface;
}

bool accept_address(int packet_socket, const Interface& interface, const wire::MacAddress& mac, bool all_frames) {
  packet_mreq request{};
  request.mr_ifindex = interface.index;
  request.mr_type = PACKET_MR_UNICAST;
  request.mr_alen = 6;
  std::memcpy(request.mr_address, mac.octets.data(), 6);
  const auto join = [&] { return ::setsockopt(packet_socket, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, sizeof request) == 0; };
  if (!all_frames && join()) return true;
  request.mr_type = PACKET_MR_PROMISC;
  return join();
}

wire::MacAddress derive_mac(const wire::MacAddress& interface_mac) {
  std::array<std::byte, 6> bytes;
  for (size_t k = 0; k < bytes.size(); ++k) bytes[k] = std::byte{interface_mac.octets[k]};
  // A fixed key: the point is to be stable and unlikely to meet another address, not to be secret.
  uint64_t hash = siphash(SipKey{0x6665727279206d61, 0x6320616464726573}, bytes);
  wire::MacAddress mac;
  for (uint8_t& octet : mac.octets) octet = static_cast<uint8_t>(hash), hash >>= 8;
  mac.octets[0] = static_cast<uint8_t>((mac.octets[0] & 0xfc) | 0x02);  // locally administered, unicast
  if (mac == interface_mac) mac.octets[5] ^= 1;
  return mac;
}

}  // namespace ferry::link

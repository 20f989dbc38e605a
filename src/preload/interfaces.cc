// Interposes getifaddrs and freeifaddrs, and answers SIOCGIF… for Ferry's interfaces. getifaddrs(3), netdevice(7).
#include "preload/interfaces.h"

#include <errno.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "client/channel.h"
#include "client/guarded_copy.h"
#include "ipc/owned_fd.h"
#include "preload/real.h"

namespace ferry::preload {
namespace {

using ipc::control::InterfaceInfo;

constexpr int kMaxInterfaces = 64;

unsigned flags_of(const InterfaceInfo& i) { return IFF_UP | IFF_RUNNING | (i.address >> 24 == 127 ? IFF_LOOPBACK : IFF_BROADCAST); }

uint32_t mask_of(const InterfaceInfo& i) {
  return i.prefix_length == 0 ? 0 : ~uint32_t{0} << (32 - (i.prefix_length <= 32 ? i.prefix_length : 32));
}

sockaddr_in to_sockaddr(uint32_t host_order) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(host_order);
  return address;
}

// An entry of ours, one block of memory; freeifaddrs knows it by its name pointing into the block itself.
struct OwnEntry {
  ifaddrs entry;
  sockaddr_in address, mask, broadcast;
  char name[IFNAMSIZ + 1];
};

bool is_own(const ifaddrs* entry) { return entry->ifa_name == reinterpret_cast<const OwnEntry*>(entry)->name; }

ifaddrs* make_entry(const InterfaceInfo& info) {
  auto* own = static_cast<OwnEntry*>(calloc(1, sizeof(OwnEntry)));
  if (own == nullptr) return nullptr;
  memcpy(own->name, info.name, sizeof(info.name));
  own->address = to_sockaddr(info.address);
  own->mask = to_sockaddr(mask_of(info));
  own->broadcast = to_sockaddr(info.address | ~mask_of(info));
  own->entry.ifa_name = own->name;
  own->entry.ifa_flags = flags_of(info);
  own->entry.ifa_addr = reinterpret_cast<sockaddr*>(&own->address);
  own->entry.ifa_netmask = reinterpret_cast<sockaddr*>(&own->mask);
  own->entry.ifa_broadaddr = reinterpret_cast<sockaddr*>(&own->broadcast);
  return &own->entry;
}

const InterfaceInfo* find(const std::vector<InterfaceInfo>& all, const ifreq& request) {
  for (const InterfaceInfo& i : all)
    if (strncmp(i.name, request.ifr_name, IFNAMSIZ) == 0) return &i;
  return nullptr;
}

void put(sockaddr& to, uint32_t address) {
  sockaddr_in value = to_sockaddr(address);
  memcpy(&to, &value, sizeof(value));
}

ipc::OwnedFd open_kernel_socket() {
  return ipc::OwnedFd(static_cast<int>(ipc::raw_syscall(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)));
}

// SIOCGIFCONF: the kernel's list and ours after it.
int list_addresses(int fd, ifconf& conf, const std::vector<InterfaceInfo>& all) {
  const int capacity = conf.ifc_len;
  if (long error = ipc::raw_syscall(SYS_ioctl, fd, SIOCGIFCONF, ipc::arg(&conf)); error < 0) return static_cast<int>(error);
  for (const InterfaceInfo& i : all) {
    if (conf.ifc_req == nullptr) {
      conf.ifc_len += static_cast<int>(sizeof(ifreq));
      continue;
    }
    if (conf.ifc_len + static_cast<int>(sizeof(ifreq)) > capacity) break;
    ifreq entry{};
    memcpy(entry.ifr_name, i.name, IFNAMSIZ);
    put(entry.ifr_addr, i.address);
    if (!client::guarded_copy(conf.ifc_buf + conf.ifc_len, &entry, sizeof(entry))) return -EFAULT;
    conf.ifc_len += static_cast<int>(sizeof(ifreq));
  }
  return 0;
}

int answer(unsigned long request, const InterfaceInfo& i, ifreq& r) {
  switch (request) {
    case SIOCGIFADDR: put(r.ifr_addr, i.address); return 0;
    case SIOCGIFNETMASK: put(r.ifr_netmask, mask_of(i)); return 0;
    case SIOCGIFBRDADDR: put(r.ifr_broadaddr, i.address | ~mask_of(i)); return 0;
    case SIOCGIFFLAGS: r.ifr_flags = static_cast<short>(flags_of(i)); return 0;
    case SIOCGIFMTU: r.ifr_mtu = static_cast<int>(i.mtu); return 0;
    case SIOCGIFHWADDR:
      memset(&r.ifr_hwaddr, 0, sizeof(r.ifr_hwaddr));
      r.ifr_hwaddr.sa_family = ARPHRD_ETHER;
      memcpy(r.ifr_hwaddr.sa_data, i.mac, sizeof(i.mac));
      return 0;
  }
  return 1;
}

}  // namespace

std::vector<InterfaceInfo> ferry_interfaces() {
  std::vector<InterfaceInfo> all;
  client::Channel* channel = nullptr;
  if (client::Channel::current(channel) != 0) return all;
  InterfaceInfo info{};
  for (uint32_t i = 0; i < kMaxInterfaces && channel->interface(i, info) == 0; ++i) {
    info.name[sizeof(info.name) - 1] = '\0';
    all.push_back(info);
  }
  return all;
}

std::vector<InterfaceInfo> addresses_kernel_lacks() {
  std::vector<InterfaceInfo> all = ferry_interfaces();
  ipc::OwnedFd kernel = open_kernel_socket();
  if (!kernel.valid()) return all;
  std::erase_if(all, [&](InterfaceInfo& i) {
    ifreq r{};
    memcpy(r.ifr_name, i.name, IFNAMSIZ);
    i.index = ipc::raw_syscall(SYS_ioctl, kernel.get(), SIOCGIFINDEX, ipc::arg(&r)) == 0 ? static_cast<uint32_t>(r.ifr_ifindex) : 0;
    if (ipc::raw_syscall(SYS_ioctl, kernel.get(), SIOCGIFADDR, ipc::arg(&r)) != 0) return false;
    sockaddr_in address{};
    memcpy(&address, &r.ifr_addr, sizeof(address));
    return ntohl(address.sin_addr.s_addr) == i.address;  // 127.0.0.1 with --loopback
  });
  return all;
}

bool is_interface_ioctl(unsigned long request) {
  switch (request) {
    case SIOCGIFCONF: case SIOCGIFADDR: case SIOCGIFNETMASK: case SIOCGIFBRDADDR: case SIOCGIFFLAGS: case SIOCGIFMTU:
    case SIOCGIFHWADDR: case SIOCGIFINDEX: case SIOCGIFNAME: case SIOCGIFMETRIC: case SIOCGIFTXQLEN: case SIOCGIFDSTADDR:
      return true;
  }
  return false;
}

// `argument` may be anywhere and at any address: Python passes on what it finds in a string of bytes.
int interface_ioctl(unsigned long request, void* argument) {
  if (request == SIOCGIFCONF) {
    ifconf conf{};
    if (!client::guarded_copy(&conf, argument, sizeof(conf))) return -EFAULT;
    ipc::OwnedFd kernel = open_kernel_socket();
    if (!kernel.valid()) return -ENODEV;
    if (const int result = list_addresses(kernel.get(), conf, addresses_kernel_lacks()); result < 0) return result;
    return client::guarded_copy(argument, &conf, sizeof(conf)) ? 0 : -EFAULT;
  }
  ifreq r{};
  if (!client::guarded_copy(&r, argument, sizeof(r))) return -EFAULT;
  std::vector<InterfaceInfo> all = ferry_interfaces();
  if (const InterfaceInfo* found = find(all, r); found != nullptr)
    if (const int result = answer(request, *found, r); result <= 0)
      return result < 0 || client::guarded_copy(argument, &r, sizeof(r)) ? result : -EFAULT;
  // Not Ferry's: a kernel socket knows.
  ipc::OwnedFd kernel = open_kernel_socket();
  if (!kernel.valid()) return -ENODEV;
  return static_cast<int>(ipc::raw_syscall(SYS_ioctl, kernel.get(), static_cast<long>(request), ipc::arg(argument)));
}

FERRY_EXPORT int getifaddrs(ifaddrs** list) noexcept {
  if (int error = real().getifaddrs(list); error != 0) return error;
  ifaddrs** tail = list;
  while (*tail != nullptr) tail = &(*tail)->ifa_next;
  for (const InterfaceInfo& info : addresses_kernel_lacks()) {
    ifaddrs* entry = make_entry(info);
    if (entry == nullptr) break;
    *tail = entry;
    tail = &entry->ifa_next;
  }
  return 0;
}

// libc's list is one block that its first entry stands for; ours come behind it.
FERRY_EXPORT void freeifaddrs(ifaddrs* list) noexcept {
  ifaddrs** link = &list;
  while (*link != nullptr && !is_own(*link)) link = &(*link)->ifa_next;
  ifaddrs* own = *link;
  *link = nullptr;
  while (own != nullptr) {
    ifaddrs* next = own->ifa_next;
    free(own);
    own = next;
  }
  real().freeifaddrs(list);
}

}  // namespace ferry::preload

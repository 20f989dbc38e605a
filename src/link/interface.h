// What the kernel says about a network interface (netdevice(7), ethtool ioctls), asked once when a link is opened.
#pragma once

#include <cstdint>
#include <string>

#include "link/outcome.h"
#include "wire/address.h"

namespace ferry::link {

struct Options;

struct Interface {
  std::string name;
  int index = 0;
  wire::MacAddress mac;
  uint32_t mtu = 0;
  bool up = false;
  uint32_t receive_queues = 1;
  bool veth = false;
  bool tx_checksum = false;   // ETHTOOL_GTXCSUM
  bool tso = false;           // ETHTOOL_GTSO: the device (or, on veth, the peer) takes TCP super-segments
};

// Smallest MTU that carries IPv4 as every host must (RFC 791 section 3.2 asks for 576; the kernel's minimum for IPv4 is 68).
inline constexpr uint32_t kMinMtu = 576;

// Looks `name` up in the calling thread's network namespace. Fails for an unknown or over-long name and for an interface that is
// not Ethernet-like.
Outcome<Interface> find_interface(const std::string& name);
// Why no link should be opened on it now: down, or MTU below kMinMtu. Empty: nothing against it.
std::string objection_to(const Interface& interface);
// Why Ferry may not share the interface's own MAC address with the kernel: the kernel has an IPv4 address on it or forwards.
// Empty: nothing against it.
std::string objection_to_sharing_mac(const Interface& interface);
// The interface of a link that shares it with the kernel, and Ferry's address there, or why it cannot be served.
Outcome<Interface> choose_interface(const std::string& name, const Options& options, wire::MacAddress& mac);
// Makes the interface accept frames for `mac`, or all, as long as this packet socket is open. A second unicast address lets a card filter;
// the kernel falls back to promiscuous mode itself for devices that cannot.
bool accept_address(int packet_socket, const Interface& interface, const wire::MacAddress& mac, bool all_frames);
// Ferry's own address beside `interface_mac`: locally administered, unicast, different from it, the same every time.
wire::MacAddress derive_mac(const wire::MacAddress& interface_mac);

}  // namespace ferry::link

// Owns the rule that splits addresses between Ferry and the kernel (destinations.h).
#include "preload/destinations.h"

#include "client/channel.h"

namespace ferry::preload {

bool is_kernel_loopback(const client::Address& address) {
  uint32_t ip = client::ipv4_of(address);
  if (ip >> 24 != 127 && ip != 0) return false;
  client::Channel* channel = nullptr;
  return client::Channel::current(channel) != 0 || channel->server().serves_loopback == 0;
}

Destination destination_of(const client::Address& address) {
  return is_kernel_loopback(address) ? Destination::kernel_loopback : Destination::ferry;
}

const char* destination_name(Destination where) {
  switch (where) {
    case Destination::ferry: return "Ferry";
    case Destination::kernel_loopback: return "127.0.0.0/8 is the kernel's (ferryd runs without --loopback)";
    case Destination::kernel_ipv6: return "IPv6 is not served by Ferry";
  }
  return "";
}

}  // namespace ferry::preload

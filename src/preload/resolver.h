// Host names to addresses and back, by c-ares: glibc's own resolver sends its queries by internal calls that cannot be interposed,
// that is, over the kernel's stack. Sources: /etc/hosts and DNS as /etc/resolv.conf says. Other NSS modules (mdns, ldap, …) are
// not asked. c-ares is loaded when the first name is looked up, and its sockets are Ferry's.
#pragma once

#include <netinet/in.h>

#include <string>
#include <vector>

namespace ferry::preload {

struct HostAddress {
  int family;  // AF_INET or AF_INET6
  union {
    in_addr v4;
    in6_addr v6;
  };
};

struct HostAnswer {
  int status = 0;  // 0, or an EAI_ code
  std::string canonical;
  std::vector<std::string> aliases;
  std::vector<HostAddress> addresses;
};

// Addresses of `name`, in the order of the answer, IPv4 first. family: AF_INET, AF_INET6 or AF_UNSPEC.
HostAnswer resolve_name(const char* name, int family);
// The name of an address (`length` 4 or 16 bytes by family).
HostAnswer resolve_address(const void* address, socklen_t length, int family);

}  // namespace ferry::preload

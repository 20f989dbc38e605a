// Interposes getaddrinfo(3) and getnameinfo(3). Service names, numeric addresses and the checks of flags stay with libc, which
// answers them from files without any socket; host names go to resolver.h. The list handed out consists of libc's own nodes, so
// libc's freeaddrinfo frees it. Order: IPv4 before IPv6 (Ferry speaks IPv4 only), each as DNS gave it.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <string>

#include "preload/real.h"
#include "preload/resolver.h"

namespace ferry::preload {
namespace {

constexpr int kNameInfoKnown = NI_NUMERICHOST | NI_NUMERICSERV | NI_NOFQDN | NI_NAMEREQD | NI_DGRAM;

// AI_ADDRCONFIG asks for families that some interface has. IPv4 is Ferry's; IPv6 is the kernel's, if it has a global address.
bool kernel_has_ipv6() {
  ifaddrs* list = nullptr;
  if (real().getifaddrs(&list) != 0) return false;
  bool found = false;
  for (const ifaddrs* i = list; i != nullptr && !found; i = i->ifa_next) {
    if (i->ifa_addr == nullptr || i->ifa_addr->sa_family != AF_INET6) continue;
    const in6_addr& address = reinterpret_cast<const sockaddr_in6*>(i->ifa_addr)->sin6_addr;
    found = !IN6_IS_ADDR_LOOPBACK(&address) && !IN6_IS_ADDR_LINKLOCAL(&address);
  }
  real().freeifaddrs(list);
  return found;
}

// libc's list for one address: one node per socket type.
int append_address(const HostAddress& address, const char* service, const addrinfo& hints, addrinfo**& tail) {
  char text[INET6_ADDRSTRLEN];
  const void* bytes = address.family == AF_INET ? static_cast<const void*>(&address.v4) : &address.v6;
  inet_ntop(address.family, bytes, text, sizeof(text));
  addrinfo* list = nullptr;
  int status = real().getaddrinfo(text, service, &hints, &list);
  if (status != 0) return status;
  *tail = list;
  while (*tail != nullptr) tail = &(*tail)->ai_next;
  return 0;
}

int look_up(const char* node, const char* service, const addrinfo& asked, addrinfo** result) {
  HostAnswer answer = resolve_name(node, asked.ai_family == AF_INET6 && (asked.ai_flags & AI_V4MAPPED) ? AF_UNSPEC : asked.ai_family);
  if (answer.status != 0) return answer.status;
  addrinfo hints = asked;
  hints.ai_flags = (asked.ai_flags & ~(AI_CANONNAME | AI_ADDRCONFIG)) | AI_NUMERICHOST;
  bool v6 = (asked.ai_flags & AI_ADDRCONFIG) == 0 || kernel_has_ipv6();
  bool only_mapped = asked.ai_family == AF_INET6;
  for (const HostAddress& a : answer.addresses) only_mapped &= a.family != AF_INET6;
  *result = nullptr;
  addrinfo** tail = result;
  int status = EAI_NODATA;
  for (const HostAddress& a : answer.addresses) {
    if (a.family == AF_INET6 && !v6) continue;
    if (a.family == AF_INET && asked.ai_family == AF_INET6 && !only_mapped && (asked.ai_flags & AI_ALL) == 0) continue;
    status = append_address(a, service, hints, tail);
    if (status != 0) break;
  }
  if (*result == nullptr) return status;
  if ((asked.ai_flags & AI_CANONNAME) != 0)
    (*result)->ai_canonname = strdup(answer.canonical.empty() ? node : answer.canonical.c_str());
  return 0;
}

void copy_host(const std::string& name, int flags, char* host, socklen_t capacity, int& status) {
  std::string text = name;
  if ((flags & NI_NOFQDN) != 0) text.resize(text.find('.') == std::string::npos ? text.size() : text.find('.'));
  if (text.size() + 1 > capacity) {
    status = EAI_OVERFLOW;
    return;
  }
  memcpy(host, text.c_str(), text.size() + 1);
  status = 0;
}

}  // namespace

FERRY_EXPORT int getaddrinfo(const char* node, const char* service, const addrinfo* hints, addrinfo** result) {
  addrinfo asked{};
  asked.ai_flags = AI_V4MAPPED | AI_ADDRCONFIG;  // what no hints mean, getaddrinfo(3)
  if (hints != nullptr) asked = *hints;
  if (node == nullptr || (asked.ai_flags & AI_NUMERICHOST) != 0) return real().getaddrinfo(node, service, hints, result);
  addrinfo numeric = asked;
  numeric.ai_flags = (asked.ai_flags | AI_NUMERICHOST) & ~AI_ADDRCONFIG;
  int status = real().getaddrinfo(node, service, &numeric, result);
  if (status != EAI_NONAME) return status;
  // Not a number; is the rest of the question in order? Ask it about an address that needs no look-up.
  addrinfo check = numeric;
  check.ai_flags &= ~AI_CANONNAME;
  addrinfo* list = nullptr;
  status = real().getaddrinfo(asked.ai_family == AF_INET6 ? "::" : "0.0.0.0", service, &check, &list);
  if (status != 0) return status;
  freeaddrinfo(list);
  return look_up(node, service, asked, result);
}

FERRY_EXPORT int getnameinfo(const sockaddr* address, socklen_t length, char* host, socklen_t host_size, char* service,
                             socklen_t service_size, int flags) {
  bool by_libc = (flags & NI_NUMERICHOST) != 0 || (flags & ~kNameInfoKnown) != 0 || host == nullptr || host_size == 0 ||
                 address == nullptr || (address->sa_family != AF_INET && address->sa_family != AF_INET6);
  if (by_libc) return real().getnameinfo(address, length, host, host_size, service, service_size, flags);
  int status = real().getnameinfo(address, length, host, host_size, service, service_size,
                                  (flags | NI_NUMERICHOST) & ~NI_NAMEREQD);
  if (status != 0 && status != EAI_OVERFLOW) return status;
  HostAnswer answer;
  if (address->sa_family == AF_INET)
    answer = resolve_address(&reinterpret_cast<const sockaddr_in*>(address)->sin_addr, 4, AF_INET);
  else
    answer = resolve_address(&reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr, 16, AF_INET6);
  if (answer.status == 0 && !answer.canonical.empty()) copy_host(answer.canonical, flags, host, host_size, status);
  else if ((flags & NI_NAMEREQD) != 0) status = answer.status == 0 ? EAI_NONAME : answer.status;
  return status;
}

}  // namespace ferry::preload

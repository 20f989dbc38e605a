#include "client/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

namespace ferry::client {
namespace {

bool is_mapped(const uint8_t* ip) {
  for (int i = 0; i < 10; ++i)
    if (ip[i] != 0) return false;
  return ip[10] == 0xff && ip[11] == 0xff;
}

}  // namespace

Address address_of(const uint8_t (&ip)[16], uint16_t port) {
  Address a{};
  std::memcpy(a.ip, ip, sizeof a.ip);
  a.port = port;
  return a;
}

Address make_address(uint32_t ipv4, uint16_t port) {
  Address a{};
  a.port = port;
  if (ipv4 == 0) return a;
  a.ip[10] = a.ip[11] = 0xff;
  for (int i = 0; i < 4; ++i) a.ip[12 + i] = static_cast<uint8_t>(ipv4 >> (24 - 8 * i));
  return a;
}

uint32_t ipv4_of(const Address& a) {
  return uint32_t{a.ip[12]} << 24 | uint32_t{a.ip[13]} << 16 | uint32_t{a.ip[14]} << 8 | a.ip[15];
}

bool is_unspecified(const Address& a) {
  for (int i = 0; i < 10; ++i)
    if (a.ip[i] != 0) return false;
  return (is_mapped(a.ip) || (a.ip[10] == 0 && a.ip[11] == 0)) && ipv4_of(a) == 0;
}

int parse_address(const sockaddr* from, socklen_t length, bool v6, Address& out) {
  if (from == nullptr || length < sizeof(sa_family_t)) return -EINVAL;
  sa_family_t family;
  std::memcpy(&family, from, sizeof family);
  if (family == AF_INET || (family == AF_UNSPEC && !v6)) {
    if (length < sizeof(sockaddr_in)) return -EINVAL;
    sockaddr_in in;
    std::memcpy(&in, from, sizeof in);
    if (family == AF_UNSPEC && in.sin_addr.s_addr != 0) return -EAFNOSUPPORT;
    if (v6) return -EAFNOSUPPORT;
    out = make_address(ntohl(in.sin_addr.s_addr), ntohs(in.sin_port));
    return 0;
  }
  if (family != AF_INET6 || !v6) return -EAFNOSUPPORT;
  if (length < offsetof(sockaddr_in6, sin6_scope_id)) return -EINVAL;  // as Linux: SIN6_LEN_RFC2133
  sockaddr_in6 in6{};
  std::memcpy(&in6, from, std::min<size_t>(length, sizeof in6));
  Address a{};
  std::memcpy(a.ip, in6.sin6_addr.s6_addr, sizeof a.ip);
  if (is_unspecified(a)) a = Address{};
  else if (!is_mapped(a.ip)) return -ENETUNREACH;
  a.port = ntohs(in6.sin6_port);
  out = a;
  return 0;
}

socklen_t write_address(const Address& from, bool v6, void* to, socklen_t capacity) {
  if (v6) {
    sockaddr_in6 in6{};
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(from.port);
    std::memcpy(in6.sin6_addr.s6_addr, from.ip, sizeof from.ip);
    if (to != nullptr) std::memcpy(to, &in6, std::min<size_t>(capacity, sizeof in6));
    return sizeof in6;
  }
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(from.port);
  in.sin_addr.s_addr = htonl(ipv4_of(from));
  if (to != nullptr) std::memcpy(to, &in, std::min<size_t>(capacity, sizeof in));
  return sizeof in;
}

}  // namespace ferry::client

// Between sockaddr and the addresses of the channel: 16 bytes, IPv4-mapped, port in host order (control::Address).
#pragma once

#include <sys/socket.h>

#include "ipc/control.h"

namespace ferry::client {

using Address = ipc::control::Address;

// Reads an AF_INET or (`v6`: the socket is AF_INET6) AF_INET6 address. 0; -EINVAL: too short; -EAFNOSUPPORT: another family;
// -ENETUNREACH: an IPv6 address that is neither IPv4-mapped nor unspecified (this Ferry speaks IPv4 only).
// AF_UNSPEC is the caller's business. On an AF_INET socket AF_UNSPEC with INADDR_ANY is taken as AF_INET for bind (ip(7)).
int parse_address(const sockaddr* from, socklen_t length, bool v6, Address& out);

// Writes `from` as the socket's family wants it, at most `capacity` bytes; returns the full length (which may be larger).
socklen_t write_address(const Address& from, bool v6, void* to, socklen_t capacity);

bool is_unspecified(const Address& a);
// IPv4 in host order; 0 if unspecified.
uint32_t ipv4_of(const Address& a);
Address make_address(uint32_t ipv4, uint16_t port);
// From the words of a slot or a header in shared memory (ipc/abi.h).
Address address_of(const uint8_t (&ip)[16], uint16_t port);

}  // namespace ferry::client

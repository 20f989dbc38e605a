// Bytes of options, in and out of usrsctp.
#pragma once

#include <usrsctp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/bytes.h"
#include "foreign/usrsctp_server.h"
#include "foreign/usrsctp_values.h"

namespace ferry::foreign {

// What the program gives is an int, or a structure with the association in front.
inline Result<uint32_t> last_number(ByteSpan value) {
  if (value.size() != 4 && value.size() != 8) return Errc::invalid;
  uint32_t n = 0;
  std::memcpy(&n, value.data() + value.size() - 4, 4);
  return n;
}

// The association that most structures of options begin with; a one-to-one socket has only one.
inline uint32_t first_association(const SctpSocket& s, ByteSpan value) {
  uint32_t id = 0;
  if (s.many() && value.size() >= sizeof id) std::memcpy(&id, value.data(), sizeof id);
  return id;
}

inline Errc pass(usrsctp_socket_t* so, int name, const void* value, size_t length) {
  if (so == nullptr) return Errc::invalid;
  return usrsctp_setsockopt(so, IPPROTO_SCTP, name, value, static_cast<socklen_t>(length)) == 0 ? Errc::ok : to_errc(errno);
}

// Asks with, and for, a structure of usrsctp's.
template <typename T>
Errc ask(usrsctp_socket_t* so, int name, T& structure) {
  socklen_t size = sizeof structure;
  if (so == nullptr) return Errc::invalid;
  return usrsctp_getsockopt(so, IPPROTO_SCTP, name, &structure, &size) == 0 ? Errc::ok : to_errc(errno);
}

// An answer, as much of it as the program has room for.
inline size_t give(MutableByteSpan value, size_t length, const void* bytes, size_t n) {
  n = std::min({n, value.size(), length});
  std::memcpy(value.data(), bytes, n);
  return n;
}

}  // namespace ferry::foreign

// usrsctp's addresses and error numbers as Ferry's, and back.
#pragma once

#include <usrsctp.h>

#include <cerrno>

#include "base/result.h"

namespace ferry::foreign {

inline sockaddr_conn conn_address(uint16_t port, void* path) {
  sockaddr_conn a{};
  a.sconn_family = AF_CONN;
  a.sconn_port = htons(port);
  a.sconn_addr = path;
  return a;
}

inline Errc to_errc(int number) {
  switch (number) {
    case 0: return Errc::ok;
    case EAGAIN: return Errc::again;
    case ENOMEM: return Errc::no_memory;
    case ENOBUFS: return Errc::no_buffers;
    case EADDRINUSE: return Errc::address_in_use;
    case EADDRNOTAVAIL: return Errc::address_not_available;
    case ENOTCONN: return Errc::not_connected;
    case EISCONN: return Errc::is_connected;
    case EALREADY: return Errc::already;
    case ECONNREFUSED: return Errc::refused;
    case ECONNRESET: return Errc::reset;
    case ECONNABORTED: return Errc::aborted;
    case ETIMEDOUT: return Errc::timed_out;
    case EPIPE: return Errc::broken_pipe;
    case EMSGSIZE: return Errc::message_size;
    case EOPNOTSUPP: return Errc::not_supported;
    case ENOPROTOOPT: return Errc::no_protocol_option;
    default: return Errc::invalid;
  }
}

}  // namespace ferry::foreign

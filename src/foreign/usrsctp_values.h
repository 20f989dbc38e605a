// usrsctp's addresses and error numbers as Ferry's, and back.
#pragma once

#include <usrsctp.h>

#include <cerrno>

#include "base/result.h"
#include "base/time.h"

namespace ferry::foreign {

inline constexpr Duration kLinger = Duration::seconds(300);  // usrsctp's bound on a shutdown

inline sockaddr_conn conn_address(uint16_t port, void* path) {
  sockaddr_conn a{};
  a.sconn_family = AF_CONN;
  a.sconn_port = htons(port);
  a.sconn_addr = path;
  return a;
}

// Ends an association (0: the only one) by SCTP_EOF or SCTP_ABORT. If it is over already, so be it.
inline void order(struct socket* so, uint32_t association, uint16_t how) {
  sctp_sndinfo info{};
  info.snd_flags = how;
  info.snd_assoc_id = association;
  (void)usrsctp_sendv(so, "", 0, nullptr, 0, &info, sizeof info, SCTP_SENDV_SNDINFO, 0);
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

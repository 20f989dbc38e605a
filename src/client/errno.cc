#include "client/errno.h"

#include <cerrno>

namespace ferry::client {

int to_errno(Errc code) {
  switch (code) {
    case Errc::ok: return 0;
    case Errc::again: return EAGAIN;
    case Errc::invalid: return EINVAL;
    case Errc::no_memory: return ENOMEM;
    case Errc::no_buffers: return ENOBUFS;
    case Errc::too_many: return ENFILE;
    case Errc::address_in_use: return EADDRINUSE;
    case Errc::address_not_available: return EADDRNOTAVAIL;
    case Errc::access: return EACCES;
    case Errc::not_permitted: return EPERM;
    case Errc::not_connected: return ENOTCONN;
    case Errc::is_connected: return EISCONN;
    case Errc::in_progress: return EINPROGRESS;
    case Errc::already: return EALREADY;
    case Errc::refused: return ECONNREFUSED;
    case Errc::reset: return ECONNRESET;
    case Errc::aborted: return ECONNABORTED;
    case Errc::timed_out: return ETIMEDOUT;
    case Errc::host_unreachable: return EHOSTUNREACH;
    case Errc::net_unreachable: return ENETUNREACH;
    case Errc::broken_pipe: return EPIPE;
    case Errc::message_size: return EMSGSIZE;
    case Errc::destination_required: return EDESTADDRREQ;
    case Errc::not_supported: return EOPNOTSUPP;
    case Errc::no_protocol_option: return ENOPROTOOPT;
    case Errc::protocol: return EPROTO;
    case Errc::bad_socket: return EBADF;
    case Errc::malformed: return EPROTO;
    case Errc::version_mismatch: return EPROTO;
  }
  return EIO;
}

}  // namespace ferry::client

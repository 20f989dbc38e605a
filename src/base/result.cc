// Names of error codes.
#include "base/result.h"

namespace ferry {

const char* errc_name(Errc e) {
  switch (e) {
    case Errc::ok: return "ok";
    case Errc::again: return "again";
    case Errc::invalid: return "invalid";
    case Errc::no_memory: return "no_memory";
    case Errc::no_buffers: return "no_buffers";
    case Errc::too_many: return "too_many";
    case Errc::address_in_use: return "address_in_use";
    case Errc::address_not_available: return "address_not_available";
    case Errc::access: return "access";
    case Errc::not_permitted: return "not_permitted";
    case Errc::not_connected: return "not_connected";
    case Errc::is_connected: return "is_connected";
    case Errc::in_progress: return "in_progress";
    case Errc::already: return "already";
    case Errc::refused: return "refused";
    case Errc::reset: return "reset";
    case Errc::aborted: return "aborted";
    case Errc::timed_out: return "timed_out";
    case Errc::host_unreachable: return "host_unreachable";
    case Errc::net_unreachable: return "net_unreachable";
    case Errc::broken_pipe: return "broken_pipe";
    case Errc::message_size: return "message_size";
    case Errc::destination_required: return "destination_required";
    case Errc::not_supported: return "not_supported";
    case Errc::no_protocol_option: return "no_protocol_option";
    case Errc::protocol: return "protocol";
    case Errc::bad_socket: return "bad_socket";
    case Errc::malformed: return "malformed";
    case Errc::version_mismatch: return "version_mismatch";
  }
  return "unknown";
}

}  // namespace ferry

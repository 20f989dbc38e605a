// Notifications as Linux programs read them (linux/sctp.h, RFC 6458 section 6.1). See sctp_linux.h.
#include <netinet/in.h>
#include <sys/socket.h>

#include <linux/sctp.h>

#include <cstring>

#include "foreign/sctp_linux.h"

namespace ferry::foreign::sctp_linux {
namespace {

// A structure of a notification: type and length are in the same places in all of them.
template <typename T>
size_t finish(T& structure, const Notification& n, MutableByteSpan out) {
  union sctp_notification whole {};
  static_assert(sizeof(T) <= sizeof whole);
  whole.sn_header.sn_type = static_cast<uint16_t>(SCTP_SN_TYPE_BASE + static_cast<int>(n.kind));
  whole.sn_header.sn_length = static_cast<uint32_t>(sizeof structure) + n.more;
  if (out.size() < sizeof structure) return 0;
  std::memcpy(out.data(), &structure, sizeof structure);
  std::memcpy(out.data(), &whole.sn_header.sn_type, sizeof whole.sn_header.sn_type);
  std::memcpy(out.data() + offsetof(decltype(whole.sn_header), sn_length), &whole.sn_header.sn_length, sizeof whole.sn_header.sn_length);
  return sizeof structure;
}

size_t write_address_change(const Notification& n, MutableByteSpan out) {
  sctp_paddr_change c{};
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(n.address.port);
  address.sin_addr.s_addr = htonl(n.address.address.is_v4() ? n.address.address.v4().value : 0);
  std::memcpy(&c.spc_aaddr, &address, sizeof address);
  c.spc_state = static_cast<int>(n.state);
  c.spc_error = static_cast<int>(n.error);
  c.spc_assoc_id = static_cast<sctp_assoc_t>(n.association);
  return finish(c, n, out);
}

template <typename T, typename Info>
size_t write_send_failure(T& f, Info& info, int control_type, const Notification& n, MutableByteSpan out) {
  f.ssf_flags = n.was_sent ? SCTP_DATA_SENT : SCTP_DATA_UNSENT;
  f.ssf_error = n.error;
  f.ssf_assoc_id = static_cast<sctp_assoc_t>(n.association);
  (void)write_send_info(control_type, n.message, MutableByteSpan(reinterpret_cast<std::byte*>(&info), sizeof info));
  return finish(f, n, out);
}

}  // namespace

size_t write_notification(const Notification& n, MutableByteSpan out) {
  const auto association = static_cast<sctp_assoc_t>(n.association);
  switch (n.kind) {
    case Kind::association: {
      sctp_assoc_change c{};
      c.sac_state = static_cast<uint16_t>(n.change);
      c.sac_error = static_cast<uint16_t>(n.error);
      c.sac_outbound_streams = n.out_streams;
      c.sac_inbound_streams = n.in_streams;
      c.sac_assoc_id = association;
      return finish(c, n, out);
    }
    case Kind::address: return write_address_change(n, out);
    case Kind::send_failure: {
      sctp_send_failed f{};
      return write_send_failure(f, f.ssf_info, kSendReceive, n, out);
    }
    case Kind::send_failure_event: {
      sctp_send_failed_event f{};
      return write_send_failure(f, f.ssfe_info, kSend, n, out);
    }
    case Kind::remote_error: {
      sctp_remote_error e{};
      e.sre_error = htons(static_cast<uint16_t>(n.error));
      e.sre_assoc_id = association;
      return finish(e, n, out);
    }
    case Kind::shutdown: {
      sctp_shutdown_event e{};
      e.sse_assoc_id = association;
      return finish(e, n, out);
    }
    case Kind::partial_delivery: {
      sctp_pdapi_event e{};
      e.pdapi_indication = n.state;
      e.pdapi_assoc_id = association;
      e.pdapi_stream = n.message.stream;
      return finish(e, n, out);
    }
    case Kind::adaptation: {
      sctp_adaptation_event e{};
      e.sai_adaptation_ind = n.state;
      e.sai_assoc_id = association;
      return finish(e, n, out);
    }
    case Kind::sender_dry: {
      sctp_sender_dry_event e{};
      e.sender_dry_assoc_id = association;
      return finish(e, n, out);
    }
    default: return 0;
  }
}

}  // namespace ferry::foreign::sctp_linux

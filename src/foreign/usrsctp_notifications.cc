// usrsctp's notifications: what they mean for a socket, and as a Linux program reads them. See usrsctp_server.h.
#include <usrsctp.h>

#include <cstring>
#include <optional>

#include "foreign/usrsctp_server.h"
#include "foreign/usrsctp_values.h"

namespace ferry::foreign {
namespace {

using sctp_linux::Change;
using sctp_linux::Kind;
using sctp_linux::Notification;
using stack::bit;
using stack::Event;
using stack::MessageInfo;

template <typename T>
bool read(ByteSpan bytes, T& value) {
  if (bytes.size() < sizeof value) return false;
  std::memcpy(&value, bytes.data(), sizeof value);
  return true;
}

Change change_of(uint16_t state) {
  switch (state) {
    case SCTP_COMM_UP: return Change::up;
    case SCTP_COMM_LOST: return Change::lost;
    case SCTP_RESTART: return Change::restart;
    case SCTP_SHUTDOWN_COMP: return Change::shut_down;
    default: return Change::not_started;
  }
}

Notification of(Kind kind, uint32_t association) {
  Notification n;
  n.kind = kind;
  n.association = association;
  return n;
}

Notification of(const sctp_assoc_change& c) {
  Notification n = of(Kind::association, c.sac_assoc_id);
  n.change = change_of(c.sac_state);
  n.error = c.sac_error;
  n.by_peer = c.sac_length > sizeof c;  // its ABORT chunk is there
  n.out_streams = c.sac_outbound_streams;
  n.in_streams = c.sac_inbound_streams;
  return n;
}

Notification of(const sctp_send_failed_event& f) {
  Notification n = of(Kind::send_failure, f.ssfe_assoc_id);
  n.error = f.ssfe_error;
  n.was_sent = (f.ssfe_flags & SCTP_DATA_SENT) != 0;
  n.message.stream = f.ssfe_info.snd_sid;
  n.message.unordered = (f.ssfe_info.snd_flags & SCTP_UNORDERED) != 0;
  n.message.protocol = f.ssfe_info.snd_ppid;
  n.message.context = f.ssfe_info.snd_context;
  n.message.association = f.ssfe_assoc_id;
  return n;
}

// usrsctp counts address states from 1.
Notification of(const sctp_paddr_change& c) {
  Notification n = of(Kind::address, c.spc_assoc_id);
  n.state = c.spc_state > 0 ? c.spc_state - 1 : 0;
  n.error = c.spc_error;
  return n;
}

// The first piece of a notification, `more`: the bytes of it that go on unchanged. Nothing: of a kind that is not passed on.
std::optional<Notification> translate(ByteSpan bytes, ByteSpan& more) {
  sctp_notification::sctp_tlv head;
  if (!read(bytes, head)) return {};
  const auto rest = [&](size_t size) {
    more = bytes.subspan(size);
    return head.sn_length > size ? head.sn_length - static_cast<uint32_t>(size) : 0;
  };
  switch (head.sn_type) {
    case SCTP_ASSOC_CHANGE:
      if (sctp_assoc_change c; read(bytes, c)) return of(c);
      break;
    case SCTP_PEER_ADDR_CHANGE:
      if (sctp_paddr_change c; read(bytes, c)) return of(c);
      break;
    case SCTP_SHUTDOWN_EVENT:
      if (sctp_shutdown_event e; read(bytes, e)) return of(Kind::shutdown, e.sse_assoc_id);
      break;
    case SCTP_SENDER_DRY_EVENT:
      if (sctp_sender_dry_event e; read(bytes, e)) return of(Kind::sender_dry, e.sender_dry_assoc_id);
      break;
    case SCTP_ADAPTATION_INDICATION:
      if (sctp_adaptation_event e; read(bytes, e)) {
        Notification n = of(Kind::adaptation, e.sai_assoc_id);
        n.state = e.sai_adaptation_ind;
        return n;
      }
      break;
    case SCTP_PARTIAL_DELIVERY_EVENT:
      if (sctp_pdapi_event e; read(bytes, e)) {
        Notification n = of(Kind::partial_delivery, e.pdapi_assoc_id);  // "aborted" is the only indication, on Linux 0
        n.message.stream = static_cast<uint16_t>(e.pdapi_stream);
        return n;
      }
      break;
    case SCTP_SEND_FAILED_EVENT:
      if (sctp_send_failed_event f; read(bytes, f)) {
        Notification n = of(f);
        n.more = rest(sizeof f);
        return n;
      }
      break;
    case SCTP_REMOTE_ERROR:
      if (sctp_remote_error e; read(bytes, e)) {
        Notification n = of(Kind::remote_error, e.sre_assoc_id);
        n.error = e.sre_error;
        n.more = rest(sizeof e);
        return n;
      }
      break;
    default: break;
  }
  return {};
}

}  // namespace

// `from`: the peer that it is about. A long one (a message that could not be sent comes along with it) comes in pieces.
void UsrsctpServer::on_notification(SctpSocket& s, const Peer& from, ByteSpan bytes, bool last) {
  const bool goes_on = s.in_notification;
  s.in_notification = !last;
  MessageInfo info;
  info.remote = from.endpoint();
  info.flags = (last ? MessageInfo::kEnd : 0) | MessageInfo::kNotification;
  if (goes_on) {
    if (s.told_notification) (void)deliver(s, info, bytes);
    return;
  }
  s.told_notification = false;
  ByteSpan more;
  auto n = translate(bytes, more);
  if (!n) return;
  if (n->kind == Kind::address) n->address = from.endpoint();
  if (n->kind != Kind::association) return notify(s, *n, from, more, last);
  if (s.many()) return on_association(s, *n, from);
  notify(s, *n, from, more, last);
  on_change(s, *n);
}

// Tells the program, if it has subscribed.
void UsrsctpServer::notify(SctpSocket& s, const Notification& given, const Peer& from, ByteSpan more, bool last) {
  Notification n = given;
  const auto it = s.associations.find(n.association);
  if (it != s.associations.end() && it->second.unwanted) return;
  const sctp_linux::Subscriptions& on = it != s.associations.end() ? it->second.subscriptions : s.subscriptions;
  if (n.kind == Kind::send_failure && !on.wants(Kind::send_failure)) n.kind = Kind::send_failure_event;
  if (!on.wants(n.kind)) return;
  s.told_notification = true;
  std::byte head[sctp_linux::kMaxNotification];
  const size_t size = sctp_linux::write_notification(n, head);
  MessageInfo info;
  info.remote = from.endpoint();
  info.flags = (last ? MessageInfo::kEnd : 0) | MessageInfo::kNotification;
  if (more.empty()) return (void)deliver(s, info, ByteSpan(head, size));
  std::vector<std::byte> whole(head, head + size);
  whole.insert(whole.end(), more.begin(), more.end());
  (void)deliver(s, info, whole);
}

// What the end, or the beginning, of its association means for a one-to-one socket.
void UsrsctpServer::on_change(SctpSocket& s, const Notification& n) {
  s.association = n.association;
  if (n.change == Change::up && s.connecting) {
    s.connecting = false;
    s.established = true;
    up().on_events(s.owner, bit(Event::established) | bit(Event::writable));
  }
  if (n.change == Change::shut_down && s.peeled) on_peer_closed(s);
  if (n.change == Change::lost || n.change == Change::not_started) fail(s, s.connecting ? Errc::refused : Errc::reset);
}

}  // namespace ferry::foreign

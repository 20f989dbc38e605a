// Rebuilding sockets from their records; see record.h. A record is believed only as far as it fits this stack: what does not parse or
// collides is refused and leaves nothing behind.
#include "port/api/alloc.h"
#include "stack/engine.h"
#include "stack/record.h"

namespace ferry::stack {
namespace {

struct BindingFields {
  wire::IpAddress address;
  uint32_t uid = 0;
  bool reuse_address = false, reuse_port = false, bound = false, automatic = false;
};

BindingFields read_binding(RecordReader& in) {
  BindingFields b;
  b.address = in.address();
  b.uid = in.u32();
  const uint8_t flags = in.u8();
  b.reuse_address = (flags & 1) != 0;
  b.reuse_port = (flags & 2) != 0;
  b.bound = (flags & 4) != 0;
  b.automatic = (flags & 8) != 0;
  return b;
}

void apply(const BindingFields& from, Binding& to) {
  to.bound_address = from.address;
  to.uid = from.uid;
  to.reuse_address = from.reuse_address;
  to.reuse_port = from.reuse_port;
  to.automatic = from.automatic;
}

// Everything of Socket but its number, which the caller registers, and whether it holds a port.
bool read_common(RecordReader& in, Socket& s, SocketId& id) {
  id = in.u64();
  s.owner = in.u64();
  const BindingFields b = read_binding(in);
  apply(b, s);
  s.local = in.endpoint();
  s.remote = in.endpoint();
  const uint8_t flags = in.u8();
  s.told_closed = (flags & 1) != 0;
  s.broadcast = (flags & 2) != 0;
  s.dont_fragment = (flags & 4) != 0;
  s.receive_errors = (flags & 8) != 0;
  s.oob_inline = (flags & 16) != 0;
  s.tos = in.u8();
  s.ttl = in.u8();
  s.receive_buffer = in.u32();
  s.send_buffer = in.u32();
  if (!b.bound) s.automatic = false;
  return b.bound && s.local.port != 0;
}

}  // namespace

CallResult Engine::restore(ByteSpan record) {
  CallResult result;
  RecordReader in(record);
  if (in.u32() != kRecordMagic) {
    result.error = Errc::malformed;
    return result;
  }
  if (in.u16() != kRecordVersion) {
    result.error = Errc::version_mismatch;
    return result;
  }
  const auto kind = static_cast<RecordKind>(in.u8());
  Result<SocketId> id = Errc::malformed;
  switch (kind) {
    case RecordKind::tcp_plain:
    case RecordKind::tcp_listener:
    case RecordKind::tcp_connecting:
    case RecordKind::tcp_connection: id = restore_tcp(in, static_cast<uint8_t>(kind)); break;
    case RecordKind::datagram: id = restore_datagram(in); break;
    case RecordKind::time_wait: result.error = restore_time_wait(in).error(); return result;
  }
  if (id) result.socket = *id;
  else result.error = id.error();
  return result;
}

Result<SocketId> Engine::restore_tcp(RecordReader& in, uint8_t raw_kind) {
  const auto kind = static_cast<RecordKind>(raw_kind);
  if (in.u8() != static_cast<uint8_t>(SocketType::tcp)) return Errc::malformed;
  TcpSocket* s = make<TcpSocket>();
  if (s == nullptr) return Errc::no_memory;
  ++socket_count_;
  const auto refuse = [&](Errc e) {
    s->id_dead = true;
    drop_socket(*s);
    return e;
  };
  SocketId id = 0;
  const bool holds_port = read_common(in, *s, id);
  s->linger_s = static_cast<int32_t>(in.u32());
  s->defer_accept_s = in.u32();
  s->error = static_cast<Errc>(in.u8());
  const uint8_t flags = in.u8();
  s->failed = (flags & 1) != 0;
  s->established = (flags & 2) != 0;
  s->options = in.options();
  if (!in.ok() || s->error > Errc::version_mismatch || s->linger_s < -1 || s->ttl == 0) return refuse(Errc::malformed);
  if (id != 0) {
    if (auto added = sockets_.restore(*s, id); !added) return refuse(added.error());
    s->id = id;
  } else if (kind != RecordKind::tcp_connection) {
    return refuse(Errc::malformed);
  }
  if (holds_port) {
    if (auto joined = tcp_ports_.join(*s, s->local.port); !joined) return refuse(joined.error());
  }
  switch (kind) {
    case RecordKind::tcp_listener: {
      const uint32_t backlog = in.u32();
      if (!in.complete() || !holds_port) return refuse(Errc::malformed);
      if (auto listening = listen(*s, backlog); !listening) return refuse(listening.error());
      return id;
    }
    case RecordKind::tcp_connecting: {  // begins anew: nothing was lost
      if (!in.complete() || !holds_port || s->remote.port == 0) return refuse(Errc::malformed);
      if (!refresh_path(*s)) return refuse(Errc::net_unreachable);
      if (auto opened = open_connection(*s); !opened) return refuse(opened.error());
      return id;
    }
    case RecordKind::tcp_connection:
      if (auto restored = restore_connection(in, *s, holds_port); !restored) return refuse(restored.error());
      return id;
    default:
      if (!in.complete()) return refuse(Errc::malformed);
      return id;
  }
}

Status Engine::restore_connection(RecordReader& in, TcpSocket& s, bool holds_port) {
  const SocketId parent_id = in.u64();
  const auto place = static_cast<Place>(in.u8());
  if (!in.ok() || !holds_port || s.remote.port == 0 || place > Place::orphan) return Errc::malformed;
  Socket* parent = nullptr;
  if (place == Place::half_open || place == Place::waiting) {
    parent = sockets_.find(parent_id);
    if (parent == nullptr || parent->type != SocketType::tcp || static_cast<TcpSocket*>(parent)->queues == nullptr)
      return Errc::malformed;
  }
  if ((place == Place::orphan) != (s.id == 0)) return Errc::malformed;
  if (place == Place::orphan && orphan_count_ >= config_.max_orphans) return Errc::too_many;
  s.id_dead = s.id == 0;
  if (!refresh_path(s)) return Errc::net_unreachable;
  FERRY_TRY(reserve_connection());
  s.flow_kind = FlowKind::connection;
  if (auto inserted = flows_.insert(s); !inserted) {
    s.flow_kind = FlowKind::none;
    return inserted.error();
  }
  const Endpoint local = s.local, remote = s.remote;
  tcp::Connection* c = make<tcp::Connection>(*this, setup_for(s));
  if (c == nullptr) return Errc::no_memory;
  ++connection_count_;
  s.connection = c;
  s.muted = true;
  Status restored = c->restore(now_, in.rest());
  if (restored && (c->local() != local || c->remote() != remote)) restored = Errc::malformed;
  if (!restored) return restored;
  s.muted = false;
  s.place = place;
  if (place == Place::orphan) {
    add_orphan(s);
  } else if (parent != nullptr) {
    s.parent = static_cast<TcpSocket*>(parent);
    Listening& queues = *s.parent->queues;
    (place == Place::half_open ? queues.half_open : queues.waiting).push_back(s);
    ++(place == Place::half_open ? queues.half_open_count : queues.waiting_count);
  }
  timers_.set(s, c->next_deadline());
  c->resume(now_);
  return {};
}

Result<SocketId> Engine::restore_datagram(RecordReader& in) {
  if (is_full()) return Errc::too_many;
  const auto type = static_cast<SocketType>(in.u8());
  if (type != SocketType::udp && type != SocketType::icmp_echo) return Errc::malformed;
  DatagramSocket* s = make<DatagramSocket>(type);
  if (s == nullptr) return Errc::no_memory;
  ++socket_count_;
  const auto refuse = [&](Errc e) {
    drop_socket(*s);
    return e;
  };
  s->protocol = type == SocketType::udp ? wire::kProtocolUdp : wire::kProtocolIcmp;
  SocketId id = 0;
  const bool holds_port = read_common(in, *s, id);
  s->connected = in.u8() != 0;
  if (!in.complete() || s->ttl == 0 || (s->connected && !holds_port)) return refuse(Errc::malformed);
  if (auto added = sockets_.restore(*s, id); !added) return refuse(added.error());
  s->id = id;
  if (!holds_port) return id;
  PortTable& ports = ports_of(*s);
  if (auto joined = ports.join(*s, s->local.port); !joined) return refuse(joined.error());
  if (s->connected && type == SocketType::udp && !s->remote.address.v4().is_limited_broadcast()) {
    s->flow_kind = FlowKind::datagram;
    if (flows_.insert(*s)) return id;
    s->flow_kind = FlowKind::none;
  }
  ports.add_receiver(*s);
  return id;
}

Status Engine::restore_time_wait(RecordReader& in) {
  TimeWaitEntry* entry = make<TimeWaitEntry>();
  if (entry == nullptr) return Errc::no_memory;
  tcp::TimeWait& w = entry->state;
  const BindingFields b = read_binding(in);
  apply(b, *entry);
  w.local = in.endpoint();
  w.remote = in.endpoint();
  w.snd_nxt = tcp::SeqNum(in.u32());
  w.rcv_nxt = tcp::SeqNum(in.u32());
  w.rcv_wnd = in.u32();
  w.window_field = in.u16();
  w.timestamps = in.u8() != 0;
  w.timestamp_offset = in.u32();
  w.ts_recent = in.u32();
  w.ts_recent_at = earlier(in.instant(), now_);
  w.expires = earlier(in.instant(), now_ + tcp::TimeWait::kDuration);
  Errc refused = Errc::ok;
  auto path = network_.find_path(w.remote.address.v4(), w.local.address.v4());
  if (!in.complete() || w.local.port == 0 || w.remote.port == 0) refused = Errc::malformed;
  else if (!path) refused = path.error();
  else if (time_wait_count_ >= config_.max_time_wait) refused = Errc::too_many;
  if (refused != Errc::ok) {
    ferry::destroy(entry);
    return refused;
  }
  entry->path = *path;
  entry->local = w.local;
  entry->remote = w.remote;
  entry->protocol = wire::kProtocolTcp;
  entry->flow_kind = FlowKind::time_wait;
  entry->in_time_wait = true;
  ++time_wait_count_;
  TimeWaitEntry* after = time_waits_.back();  // records come by expiry; one that does not is put where it belongs
  while (after != nullptr && after->state.expires > w.expires) after = time_waits_.prev(*after);
  if (after == nullptr) time_waits_.push_front(*entry);
  else if (TimeWaitEntry* next = time_waits_.next(*after)) time_waits_.insert_before(*next, *entry);
  else time_waits_.push_back(*entry);
  Status kept = tcp_ports_.join(*entry, entry->local.port);
  if (kept) kept = flows_.insert(*entry);
  if (!kept) forget_time_wait(*entry);
  return kept;
}

}  // namespace ferry::stack

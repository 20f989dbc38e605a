// Rebuilding TCP's sockets from their records; see record.h. A record is believed only as far as it fits this stack: what does not parse or
// collides is refused and leaves nothing behind.
#include "port/api/alloc.h"
#include "stack/port_record.h"
#include "stack/tcp_server.h"

namespace ferry::stack {
Result<SocketId> TcpServer::restore(RecordReader& in, SocketType) {
  const auto kind = static_cast<RecordKind>(in.u8());
  if (kind == RecordKind::time_wait) {
    FERRY_TRY(restore_time_wait(in));
    return SocketId{0};
  }
  if (kind < RecordKind::tcp_plain || kind > RecordKind::tcp_connection) return Errc::malformed;
  TcpSocket* s = make<TcpSocket>();
  if (s == nullptr) return Errc::no_memory;
  s->server = this;
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
    if (auto added = services().restore(*s, id); !added) return refuse(added.error());
  } else if (kind != RecordKind::tcp_connection) {
    return refuse(Errc::malformed);
  }
  if (holds_port) {
    if (auto joined = ports_.join(*s, s->local.port); !joined) return refuse(joined.error());
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
    default: {
      auto queue = read_queue(in);
      if (!queue || !in.complete() || queue->place == Place::half_open || queue->place == Place::orphan) return refuse(Errc::malformed);
      join_queue(*s, *queue);
      return id;
    }
  }
}

Result<TcpServer::QueuePlace> TcpServer::read_queue(RecordReader& in) {
  const SocketId parent_id = in.u64();
  QueuePlace queue{static_cast<Place>(in.u8()), nullptr};
  if (!in.ok() || queue.place > Place::orphan) return Errc::malformed;
  if (queue.place != Place::half_open && queue.place != Place::waiting) return queue;
  Socket* parent = services().find(parent_id);
  if (parent == nullptr || parent->server != this) return Errc::malformed;
  queue.parent = static_cast<TcpSocket*>(parent);
  if (queue.parent->queues == nullptr) return Errc::malformed;
  return queue;
}

void TcpServer::join_queue(TcpSocket& s, const QueuePlace& queue) {
  s.place = queue.place;
  if (s.place == Place::orphan) add_orphan(s);
  if (queue.parent == nullptr) return;
  s.parent = queue.parent;
  Listening& queues = *s.parent->queues;
  (s.place == Place::half_open ? queues.half_open : queues.waiting).push_back(s);
  ++(s.place == Place::half_open ? queues.half_open_count : queues.waiting_count);
}

Status TcpServer::restore_connection(RecordReader& in, TcpSocket& s, bool holds_port) {
  auto queue = read_queue(in);
  if (!queue || !holds_port || s.remote.port == 0) return Errc::malformed;
  const Place place = queue->place;
  if ((place == Place::orphan) != (s.id == 0)) return Errc::malformed;
  if (place == Place::orphan && orphan_count_ >= services().config().max_orphans) return Errc::too_many;
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
  Status restored = c->restore(now(), in.rest());
  if (restored && (c->local() != local || c->remote() != remote)) restored = Errc::malformed;
  if (!restored) return restored;
  s.muted = false;
  join_queue(s, *queue);
  timers_.set(s, c->next_deadline());
  c->resume(now());
  return {};
}

Status TcpServer::restore_time_wait(RecordReader& in) {
  TimeWaitEntry* entry = make<TimeWaitEntry>();
  if (entry == nullptr) return Errc::no_memory;
  tcp::TimeWait& w = entry->state;
  const BindingFields b = read_binding(in);
  apply_binding(b, *entry);
  w.local = in.endpoint();
  w.remote = in.endpoint();
  w.snd_nxt = tcp::SeqNum(in.u32());
  w.rcv_nxt = tcp::SeqNum(in.u32());
  w.rcv_wnd = in.u32();
  w.window_field = in.u16();
  w.timestamps = in.u8() != 0;
  w.timestamp_offset = in.u32();
  w.ts_recent = in.u32();
  w.ts_recent_at = earlier(in.instant(), now());
  w.expires = earlier(in.instant(), now() + tcp::TimeWait::kDuration);
  Errc refused = Errc::ok;
  auto path = network().find_path(w.remote.address.v4(), w.local.address.v4());
  if (!in.complete() || w.local.port == 0 || w.remote.port == 0) refused = Errc::malformed;
  else if (!path) refused = path.error();
  else if (time_wait_count_ >= services().config().max_time_wait) refused = Errc::too_many;
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
  Status kept = ports_.join(*entry, entry->local.port);
  if (kept) kept = flows_.insert(*entry);
  if (!kept) forget_time_wait(*entry);
  return kept;
}

}  // namespace ferry::stack

// Writing the records of TCP's sockets; see record.h. tcp_restore.cc reads them.
#include "stack/port_record.h"
#include "stack/tcp_server.h"

namespace ferry::stack {
namespace {

Result<size_t> save_tcp(const TcpSocket& s, MutableByteSpan bytes) {
  RecordWriter out(bytes);
  const tcp::Connection* c = s.connection;
  const bool connecting = c != nullptr && c->state() == tcp::State::syn_sent;
  out.head(SocketType::tcp, s.queues != nullptr ? RecordKind::tcp_listener
                            : connecting        ? RecordKind::tcp_connecting
                            : c != nullptr      ? RecordKind::tcp_connection
                                                : RecordKind::tcp_plain);
  write_common(out, s);
  out.u32(static_cast<uint32_t>(s.linger_s));
  out.u32(s.defer_accept_s);
  out.u8(static_cast<uint8_t>(s.error));
  out.u8(static_cast<uint8_t>(s.failed | s.established << 1));
  out.options(c != nullptr ? c->options() : s.options);
  if (s.queues != nullptr) out.u32(s.queues->backlog);
  if (s.queues == nullptr && !connecting) {
    out.u64(s.parent == nullptr ? 0 : s.parent->id);
    out.u8(static_cast<uint8_t>(s.place));
  }
  if (c != nullptr && !connecting) {
    if (!out.ok()) return Errc::no_buffers;
    auto length = c->save(out.rest());
    if (!length) return length.error();
    out.advance(*length);
  }
  if (!out.ok()) return Errc::no_buffers;
  return out.used();
}

Result<size_t> save_time_wait(const TimeWaitEntry& entry, MutableByteSpan bytes) {
  RecordWriter out(bytes);
  const tcp::TimeWait& w = entry.state;
  out.head(SocketType::tcp, RecordKind::time_wait);
  write_binding(out, entry);
  out.endpoint(w.local);
  out.endpoint(w.remote);
  out.u32(w.snd_nxt.value());
  out.u32(w.rcv_nxt.value());
  out.u32(w.rcv_wnd);
  out.u16(w.window_field);
  out.u8(w.timestamps);
  out.u32(w.timestamp_offset);
  out.u32(w.ts_recent);
  out.instant(w.ts_recent_at);
  out.instant(w.expires);
  if (!out.ok()) return Errc::no_buffers;
  return out.used();
}

}  // namespace

Result<size_t> TcpServer::save(const Socket& socket, MutableByteSpan out) const {
  return save_tcp(static_cast<const TcpSocket&>(socket), out);
}

// Listeners before the children that wait on them, those in the order of accept(), then all the rest.
Status TcpServer::for_each_record(Stack::RecordSink& sink, MutableByteSpan room) const {
  Status outcome;
  const auto pass = [&](Result<size_t> length) {
    if (length) sink.on_record(room.first(*length));
    else outcome = length.error();
  };
  for (uint32_t i = 0; i < services().slot_count(); ++i) {
    const TcpSocket* s = at(i);
    if (s == nullptr || s->queues == nullptr) continue;
    pass(save(*s, room));
    for (List<TcpSocket, QueueTag>* queue : {&s->queues->half_open, &s->queues->waiting})
      for (TcpSocket* child = queue->front(); child != nullptr; child = queue->next(*child)) pass(save(*child, room));
  }
  for (uint32_t i = 0; i < services().slot_count(); ++i) {
    const TcpSocket* s = at(i);
    if (s != nullptr && s->queues == nullptr && s->parent == nullptr) pass(save(*s, room));
  }
  auto& orphans = const_cast<List<TcpSocket, QueueTag>&>(orphans_);
  for (TcpSocket* s = orphans.front(); s != nullptr; s = orphans.next(*s)) pass(save(*s, room));
  auto& waits = const_cast<List<TimeWaitEntry, OrderTag>&>(time_waits_);
  for (TimeWaitEntry* w = waits.front(); w != nullptr; w = waits.next(*w)) pass(save_time_wait(*w, room));
  return outcome;
}

}  // namespace ferry::stack

// Writing the records of sockets; see record.h. restore.cc reads them.
#include "port/api/alloc.h"
#include "stack/engine.h"
#include "stack/record.h"

namespace ferry::stack {
namespace {

void head(RecordWriter& out, RecordKind kind) {
  out.u32(kRecordMagic);
  out.u16(kRecordVersion);
  out.u8(static_cast<uint8_t>(kind));
}

void binding(RecordWriter& out, const Binding& b) {
  out.address(b.bound_address);
  out.u32(b.uid);
  out.u8(static_cast<uint8_t>(b.reuse_address | b.reuse_port << 1 | b.bound() << 2 | b.automatic << 3));
}

void common(RecordWriter& out, const Socket& s) {
  out.u8(static_cast<uint8_t>(s.type));
  out.u64(s.id);
  out.u64(s.owner);
  binding(out, s);
  out.endpoint(s.local);
  out.endpoint(s.remote);
  out.u8(static_cast<uint8_t>(s.told_closed | s.broadcast << 1 | s.dont_fragment << 2 | s.receive_errors << 3 | s.oob_inline << 4));
  out.u8(s.tos);
  out.u8(s.ttl);
  out.u32(s.receive_buffer);
  out.u32(s.send_buffer);
}

Result<size_t> save_tcp(const TcpSocket& s, MutableByteSpan bytes) {
  RecordWriter out(bytes);
  const tcp::Connection* c = s.connection;
  const bool connecting = c != nullptr && c->state() == tcp::State::syn_sent;
  head(out, s.queues != nullptr ? RecordKind::tcp_listener
            : connecting        ? RecordKind::tcp_connecting
            : c != nullptr      ? RecordKind::tcp_connection
                                : RecordKind::tcp_plain);
  common(out, s);
  out.u32(static_cast<uint32_t>(s.linger_s));
  out.u32(s.defer_accept_s);
  out.u8(static_cast<uint8_t>(s.error));
  out.u8(static_cast<uint8_t>(s.failed | s.established << 1));
  out.options(c != nullptr ? c->options() : s.options);
  if (s.queues != nullptr) out.u32(s.queues->backlog);
  if (c != nullptr && !connecting) {
    out.u64(s.parent == nullptr ? 0 : s.parent->id);
    out.u8(static_cast<uint8_t>(s.place));
    if (!out.ok()) return Errc::no_buffers;
    auto length = c->save(out.rest());
    if (!length) return length.error();
    out.advance(*length);
  }
  if (!out.ok()) return Errc::no_buffers;
  return out.used();
}

Result<size_t> save_datagram(const DatagramSocket& s, MutableByteSpan bytes) {
  RecordWriter out(bytes);
  head(out, RecordKind::datagram);
  common(out, s);
  out.u8(s.connected);
  if (!out.ok()) return Errc::no_buffers;
  return out.used();
}

Result<size_t> save_time_wait(const TimeWaitEntry& entry, MutableByteSpan bytes) {
  RecordWriter out(bytes);
  const tcp::TimeWait& w = entry.state;
  head(out, RecordKind::time_wait);
  binding(out, entry);
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

Result<size_t> save_socket(const Socket& s, MutableByteSpan out) {
  return s.type == SocketType::tcp ? save_tcp(static_cast<const TcpSocket&>(s), out)
                                   : save_datagram(static_cast<const DatagramSocket&>(s), out);
}

}  // namespace

Result<size_t> Engine::save(SocketId id, MutableByteSpan out) const {
  const Socket* socket = sockets_.find(id);
  if (socket == nullptr) return Errc::bad_socket;
  return save_socket(*socket, out);
}

// Listeners before the children that wait on them, those in the order of accept(), then all the rest.
Status Engine::for_each_record(Stack::RecordSink& sink) const {
  std::byte* memory = static_cast<std::byte*>(port::allocate(kMaxRecordBytes));
  if (memory == nullptr) return Errc::no_memory;
  const MutableByteSpan room(memory, kMaxRecordBytes);
  Status outcome;
  const auto pass = [&](Result<size_t> length) {
    if (length) sink.on_record(ByteSpan(memory, *length));
    else outcome = length.error();
  };
  for (uint32_t i = 0; i < sockets_.slot_count(); ++i) {
    const Socket* s = sockets_.at(i);
    if (s == nullptr || s->type != SocketType::tcp) continue;
    Listening* queues = static_cast<const TcpSocket*>(s)->queues;
    if (queues == nullptr) continue;
    pass(save_socket(*s, room));
    for (List<TcpSocket, QueueTag>* queue : {&queues->half_open, &queues->waiting})
      for (TcpSocket* child = queue->front(); child != nullptr; child = queue->next(*child)) pass(save_socket(*child, room));
  }
  for (uint32_t i = 0; i < sockets_.slot_count(); ++i) {
    const Socket* s = sockets_.at(i);
    if (s == nullptr) continue;
    if (s->type == SocketType::tcp) {
      const TcpSocket* t = static_cast<const TcpSocket*>(s);
      if (t->queues != nullptr || t->parent != nullptr) continue;
    }
    pass(save_socket(*s, room));
  }
  auto& orphans = const_cast<List<TcpSocket, QueueTag>&>(orphans_);
  for (TcpSocket* s = orphans.front(); s != nullptr; s = orphans.next(*s)) pass(save_socket(*s, room));
  auto& waits = const_cast<List<TimeWaitEntry, OrderTag>&>(time_waits_);
  for (TimeWaitEntry* w = waits.front(); w != nullptr; w = waits.next(*w)) pass(save_time_wait(*w, room));
  port::release(memory);
  return outcome;
}

}  // namespace ferry::stack

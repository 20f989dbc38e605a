// The recorder; see recording.h.
#include "stack/recording.h"

#include "stack/recording_format.h"

namespace ferry::stack {
namespace {

// The fields of one entry, on the stack.
struct Fields {
  std::byte bytes[kMaxEntryFields];
  RecordWriter out{MutableByteSpan(bytes, sizeof bytes)};
  ByteSpan written() const {
    FERRY_ASSERT(out.ok());
    return ByteSpan(bytes, out.used());
  }
};

}  // namespace

void Digest::add(ByteSpan bytes) {
  size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    uint64_t word;
    __builtin_memcpy(&word, bytes.data() + i, 8);
    add(word);
  }
  uint64_t tail = bytes.size() - i + 1;
  for (; i < bytes.size(); ++i) tail = tail << 8 | std::to_integer<uint64_t>(bytes[i]);
  add(tail);
}

uint64_t digest_of(const buf::Packet& packet, const buf::Memory& memory) {
  Digest d;
  d.add(packet.header_bytes());
  for (uint32_t i = 0; i < packet.part_count; ++i) {
    d.add(uint64_t{packet.parts[i].length});
    d.add(memory.read(packet.parts[i]));
  }
  d.add(packet.tail);
  std::byte bytes[16];
  RecordWriter out(MutableByteSpan(bytes, sizeof bytes));
  put(out, packet.offload);
  d.add(ByteSpan(bytes, out.used()));
  return d.value();
}

uint64_t digest_of(const DatagramInfo& info, ByteSpan payload) {
  std::byte bytes[64];
  RecordWriter out(MutableByteSpan(bytes, sizeof bytes));
  out.endpoint(info.remote);
  out.endpoint(info.local);
  out.u8(info.tos);
  out.u8(info.ttl);
  out.u32(info.link);
  Digest d;
  d.add(ByteSpan(bytes, out.used()));
  d.add(payload);
  return d.value();
}

uint64_t digest_of(const IcmpError& error) {
  std::byte bytes[64];
  RecordWriter out(MutableByteSpan(bytes, sizeof bytes));
  out.u8(static_cast<uint8_t>(error.error));
  out.u8(error.type);
  out.u8(error.code);
  out.u32(error.mtu);
  out.endpoint(error.remote);
  out.address(error.from);
  Digest d;
  d.add(ByteSpan(bytes, out.used()));
  return d.value();
}

void Recorder::entry(EntryKind kind, ByteSpan fields, ByteSpan payload, ByteSpan rest) {
  std::byte head[5];
  RecordWriter out(MutableByteSpan(head, sizeof head));
  out.u8(static_cast<uint8_t>(kind));
  out.u32(static_cast<uint32_t>(fields.size() + payload.size() + rest.size()));
  sink_.write(ByteSpan(head, sizeof head));
  sink_.write(fields);
  if (!payload.empty()) sink_.write(payload);
  if (!rest.empty()) sink_.write(rest);
}

void Recorder::start(const Config& config) {
  Fields f;
  f.out.u32(kRecordingMagic);
  f.out.u16(kRecordingVersion);
  put(f.out, config);
  sink_.write(f.written());
}

void Recorder::on_input(const Input& input) {
  Fields f;
  f.out.instant(input.now);
  const auto kind = static_cast<EntryKind>(input.kind);
  switch (input.kind) {
    case InputKind::frame:
      f.out.u32(input.link);
      put(f.out, input.frame.offload);
      return entry(kind, f.written(), input.frame.bytes, input.frame.detached);
    case InputKind::timer: return entry(kind, f.written());
    case InputKind::call: {
      put(f.out, *input.call);
      const CallOp op = input.call->op;
      const bool sends = op == CallOp::send || op == CallOp::send_datagram || op == CallOp::send_echo;
      return entry(kind, f.written(), sends && !input.call->data.empty() ? host_.read(input.call->data) : ByteSpan());
    }
    case InputKind::interface: put(f.out, *input.interface); return entry(kind, f.written());
    case InputKind::route: put(f.out, *input.route); return entry(kind, f.written());
    case InputKind::restore: return entry(kind, f.written(), input.record);
  }
}

Status Recorder::transmit(LinkIndex link, const buf::Packet& packet) {
  Fields f;
  const Status answer = host_.transmit(link, packet);
  f.out.u32(link);
  f.out.u32(packet.frame_length());
  f.out.u64(digest_of(packet, host_));
  f.out.u8(static_cast<uint8_t>(answer.error()));
  entry(EntryKind::transmit, f.written());
  return answer;
}

Result<buf::IoDesc> Recorder::place(Owner owner, ByteSpan payload) {
  Fields f;
  auto answer = host_.place(owner, payload);
  Digest digest;
  digest.add(payload);
  f.out.u64(owner);
  f.out.u64(digest.value());
  f.out.u8(static_cast<uint8_t>(answer.error()));
  put(f.out, answer ? *answer : buf::IoDesc{});
  entry(EntryKind::place, f.written());
  return answer;
}

void Recorder::discard(Owner owner, const buf::IoDesc& d) {
  Fields f;
  f.out.u64(owner);
  put(f.out, d);
  entry(EntryKind::discard, f.written());
  host_.discard(owner, d);
}

void Recorder::deliver(Owner owner, const buf::IoDesc& d) {
  Fields f;
  f.out.u64(owner);
  put(f.out, d);
  entry(EntryKind::deliver, f.written());
  host_.deliver(owner, d);
}

Status Recorder::deliver_datagram(Owner owner, const DatagramInfo& info, ByteSpan payload) {
  Fields f;
  const Status answer = host_.deliver_datagram(owner, info, payload);
  f.out.u64(owner);
  f.out.u64(digest_of(info, payload));
  f.out.u8(static_cast<uint8_t>(answer.error()));
  entry(EntryKind::datagram, f.written());
  return answer;
}

void Recorder::deliver_icmp_error(Owner owner, const IcmpError& error) {
  Fields f;
  f.out.u64(owner);
  f.out.u64(digest_of(error));
  entry(EntryKind::icmp_error, f.written());
  host_.deliver_icmp_error(owner, error);
}

void Recorder::on_completed(Owner owner, uint32_t bytes) {
  Fields f;
  f.out.u64(owner);
  f.out.u32(bytes);
  entry(EntryKind::completed, f.written());
  host_.on_completed(owner, bytes);
}

void Recorder::on_events(Owner owner, uint32_t events) {
  Fields f;
  f.out.u64(owner);
  f.out.u32(events);
  entry(EntryKind::events, f.written());
  host_.on_events(owner, events);
}

Owner Recorder::on_incoming(Owner listener, SocketId child, const Endpoint& local, const Endpoint& remote) {
  Fields f;
  const Owner answer = host_.on_incoming(listener, child, local, remote);
  f.out.u64(listener);
  f.out.u64(child);
  f.out.endpoint(local);
  f.out.endpoint(remote);
  f.out.u64(answer);
  entry(EntryKind::incoming, f.written());
  return answer;
}

void Recorder::on_acceptable(Owner listener) {
  Fields f;
  f.out.u64(listener);
  entry(EntryKind::acceptable, f.written());
  host_.on_acceptable(listener);
}

}  // namespace ferry::stack

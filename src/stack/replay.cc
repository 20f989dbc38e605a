// The host that answers from a recording, and the loop over its entries; see replay.h.
#include "stack/replay.h"

#include "port/api/alloc.h"
#include "stack/recording_format.h"
#include "stack/replay_memory.h"

namespace ferry::stack {
namespace {

bool is_input(EntryKind kind) { return static_cast<uint8_t>(kind) < static_cast<uint8_t>(EntryKind::transmit); }

class Replayer final : public Host {
 public:
  Replayer(ByteSpan recording, ReplayObserver* observer) : rest_(recording), observer_(observer) {}
  Result<ReplayReport> run();

  ByteSpan read(const buf::IoDesc& d) const override { return memory_.read(d); }
  MutableByteSpan write(const buf::IoDesc&) override { return {}; }
  Status transmit(LinkIndex link, const buf::Packet& packet) override;
  Result<buf::IoDesc> place(Owner owner, ByteSpan payload) override;
  void discard(Owner owner, const buf::IoDesc& d) override { compare_desc(EntryKind::discard, owner, d); }
  void deliver(Owner owner, const buf::IoDesc& d) override { compare_desc(EntryKind::deliver, owner, d); }
  Status deliver_datagram(Owner owner, const DatagramInfo& info, ByteSpan payload) override;
  void deliver_icmp_error(Owner owner, const IcmpError& error) override {
    compare_numbers(EntryKind::icmp_error, owner, digest_of(error), 8);
  }
  void on_completed(Owner owner, uint32_t bytes) override { compare_numbers(EntryKind::completed, owner, bytes, 4); }
  void on_events(Owner owner, uint32_t events) override { compare_numbers(EntryKind::events, owner, events, 4); }
  Owner on_incoming(Owner listener, SocketId child, const Endpoint& local, const Endpoint& remote) override;
  void on_acceptable(Owner listener) override { compare_numbers(EntryKind::acceptable, listener, 0, 0); }

 private:
  struct Entry {
    EntryKind kind{};
    ByteSpan fields;
  };
  bool peek(Entry& out);
  void skip(const Entry& entry);
  bool expect(EntryKind kind, RecordReader& in);
  void differ(EntryKind replayed);
  void compare_desc(EntryKind kind, Owner owner, const buf::IoDesc& d);
  void compare_numbers(EntryKind kind, Owner owner, uint64_t value, int bytes);
  Status handle(Stack& stack, const Entry& entry);
  Status answer(RecordReader& in);

  ByteSpan rest_;
  ReplayObserver* observer_;
  ReplayReport report_;
  uint64_t entries_ = 0;
  mutable ReplayMemory memory_;
};

// The next entry; false at the end of the recording.
bool Replayer::peek(Entry& out) {
  RecordReader in(rest_);
  out.kind = static_cast<EntryKind>(in.u8());
  const uint32_t length = in.u32();
  if (!in.ok() || in.rest().size() < length) {
    if (!rest_.empty()) report_.truncated = true;
    return false;
  }
  out.fields = in.rest().first(length);
  return true;
}

void Replayer::skip(const Entry& entry) {
  rest_ = rest_.subspan(5 + entry.fields.size());
  ++entries_;
}

void Replayer::differ(EntryKind replayed) {
  if (!report_.identical) return;
  report_.identical = false;
  report_.differs_at = entries_;
  report_.replayed = replayed;
}

// The stack does something of this kind: was it recorded? If so `in` is at its fields.
bool Replayer::expect(EntryKind kind, RecordReader& in) {
  if (!report_.identical || report_.truncated) return false;
  Entry entry;
  if (!peek(entry)) {
    report_.truncated = true;
    return false;
  }
  ++report_.outputs;
  report_.recorded = entry.kind;
  if (entry.kind != kind) {
    differ(kind);
    return false;
  }
  in = RecordReader(entry.fields);
  skip(entry);
  return true;
}

Status Replayer::answer(RecordReader& in) {
  const uint8_t code = in.u8();
  if (!in.ok() || code > static_cast<uint8_t>(Errc::version_mismatch)) return Errc::malformed;
  return static_cast<Errc>(code);
}

Status Replayer::transmit(LinkIndex link, const buf::Packet& packet) {
  RecordReader in({});
  if (!expect(EntryKind::transmit, in)) return Errc::again;
  ++report_.frames_out;
  if (observer_ != nullptr) observer_->on_transmit(report_.last, link, packet, *this);
  const bool same = in.u32() == link && in.u32() == packet.frame_length() && in.u64() == digest_of(packet, *this);
  if (!same) differ(EntryKind::transmit);
  return answer(in);
}

Result<buf::IoDesc> Replayer::place(Owner owner, ByteSpan payload) {
  RecordReader in({});
  if (!expect(EntryKind::place, in)) return Errc::no_buffers;
  Digest digest;
  digest.add(payload);
  const bool same = in.u64() == owner && in.u64() == digest.value();
  const Status code = answer(in);
  const buf::IoDesc d = get_desc(in);
  if (!same || !in.ok() || (code && (d.length == 0 || d.length > payload.size()))) {
    differ(EntryKind::place);
    return Errc::no_buffers;
  }
  if (!code) return code.error();
  return d;
}

void Replayer::compare_desc(EntryKind kind, Owner owner, const buf::IoDesc& d) {
  RecordReader in({});
  if (expect(kind, in) && !(in.u64() == owner && get_desc(in) == d)) differ(kind);
}

void Replayer::compare_numbers(EntryKind kind, Owner owner, uint64_t value, int bytes) {
  RecordReader in({});
  if (!expect(kind, in)) return;
  if (in.u64() != owner || (bytes == 4 && in.u32() != value) || (bytes == 8 && in.u64() != value) || !in.ok()) differ(kind);
}

Status Replayer::deliver_datagram(Owner owner, const DatagramInfo& info, ByteSpan payload) {
  RecordReader in({});
  if (!expect(EntryKind::datagram, in)) return Errc::no_buffers;
  if (!(in.u64() == owner && in.u64() == digest_of(info, payload))) differ(EntryKind::datagram);
  return answer(in);
}

Owner Replayer::on_incoming(Owner listener, SocketId child, const Endpoint& local, const Endpoint& remote) {
  RecordReader in({});
  if (!expect(EntryKind::incoming, in)) return 0;
  const bool same = in.u64() == listener && in.u64() == child && in.any_endpoint() == local && in.any_endpoint() == remote;
  const Owner owner = in.u64();
  if (!same || !in.ok()) differ(EntryKind::incoming);
  return owner;
}

Status Replayer::handle(Stack& stack, const Entry& entry) {
  RecordReader in(entry.fields);
  Input input;
  Call call;
  InterfaceConfig interface;
  Route route;
  input.kind = static_cast<InputKind>(entry.kind);
  input.now = in.instant();
  if (input.now.ns() < 0 || input.now.is_never()) return Errc::malformed;
  switch (entry.kind) {
    case EntryKind::frame:
      input.link = in.u32();
      input.frame.offload = get_offload(in);
      input.frame.bytes = in.rest();
      break;
    case EntryKind::timer: break;
    case EntryKind::call:
      call = get_call(in);
      input.call = &call;
      FERRY_TRY(memory_.fill(call.data, in.rest()));
      break;
    case EntryKind::interface:
      interface = get_interface(in);
      input.interface = &interface;
      break;
    case EntryKind::route:
      route = get_route(in);
      input.route = &route;
      break;
    case EntryKind::restore: input.record = in.rest(); break;
    default: return Errc::malformed;
  }
  if (!in.ok()) return Errc::malformed;
  ++report_.inputs;
  report_.last = input.now;
  skip(entry);
  stack.handle(input);
  return {};
}

Result<ReplayReport> Replayer::run() {
  RecordReader in(rest_);
  if (in.u32() != kRecordingMagic) return Errc::malformed;
  if (in.u16() != kRecordingVersion) return Errc::version_mismatch;
  const Config config = get_config(in);
  if (!in.ok()) return Errc::malformed;
  rest_ = in.rest();
  auto stack = Stack::create(config, *this);
  if (!stack) return stack.error();
  Status outcome;
  Entry entry;
  while (outcome && report_.identical && !report_.truncated && peek(entry)) {
    if (is_input(entry.kind)) {
      outcome = handle(**stack, entry);
    } else {  // recorded, but the stack did not do it
      report_.recorded = entry.kind;
      differ(EntryKind{});
    }
  }
  ferry::destroy(*stack);
  if (!outcome) return outcome.error();
  return report_;
}

}  // namespace

Result<ReplayReport> replay(ByteSpan recording, ReplayObserver* observer) {
  Replayer* replayer = make<Replayer>(recording, observer);
  if (replayer == nullptr) return Errc::no_memory;
  auto report = replayer->run();
  ferry::destroy(replayer);
  return report;
}

}  // namespace ferry::stack

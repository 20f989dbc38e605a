// Recording a run of a stack: every input and every answer of the host go to a byte stream, from which replay.h repeats the run and
// checks that the same comes out.
//
//   header: magic u32, version u16, Config       then entries: kind u8, length u32, fields, little-endian
//
// Owns: the format, the recorder. Does not own: where the bytes go (ByteSink), the stack or the host. Payload is recorded once, with the
// call that sends it; transmitted frames as a digest. A recording begins with the stack: output that restored connections bring along from
// an earlier life is not in it, so that such a recording replays only up to the first segment of theirs.
#pragma once

#include <cstdint>

#include "stack/stack.h"

namespace ferry::stack {

inline constexpr uint32_t kRecordingMagic = 0x43455246;  // "FREC"
inline constexpr uint16_t kRecordingVersion = 2;

// Kinds of entries: inputs have the numbers of InputKind, what the stack said to its host follows.
enum class EntryKind : uint8_t {
  frame = 1, timer, call, interface, route, restore,
  transmit = 16, place, discard, deliver, datagram, icmp_error, completed, events, incoming, acceptable,
};

class ByteSink {
 public:
  virtual void write(ByteSpan bytes) = 0;

 protected:
  ~ByteSink() = default;
};

// A 64-bit digest of bytes, to tell runs apart; not against an adversary.
class Digest {
 public:
  void add(ByteSpan bytes);
  void add(uint64_t word) {
    state_ = (state_ ^ word) * 0x9fb21c651e98df25ULL;
    state_ ^= state_ >> 29;
  }
  uint64_t value() const { return state_; }

 private:
  uint64_t state_ = 0x243f6a8885a308d3ULL;
};

// Of a frame as it leaves: headers, payload, what the link is to do.
uint64_t digest_of(const buf::Packet& packet, const buf::Memory& memory);
uint64_t digest_of(const DatagramInfo& info, ByteSpan payload);
uint64_t digest_of(const IcmpError& error);

// Stands between a stack and its host:
//   Recorder recorder(host, sink); recorder.start(config); Stack::create(config, recorder); stack->set_observer(&recorder);
class Recorder final : public Host, public InputObserver {
 public:
  Recorder(Host& host, ByteSink& sink) : host_(host), sink_(sink) {}
  void start(const Config& config);

  void on_input(const Input& input) override;

  ByteSpan read(const buf::IoDesc& d) const override { return host_.read(d); }
  MutableByteSpan write(const buf::IoDesc& d) override { return host_.write(d); }
  Status transmit(LinkIndex link, const buf::Packet& packet) override;
  Result<buf::IoDesc> place(Owner owner, ByteSpan payload) override;
  void discard(Owner owner, const buf::IoDesc& d) override;
  void deliver(Owner owner, const buf::IoDesc& d) override;
  Status deliver_datagram(Owner owner, const DatagramInfo& info, ByteSpan payload) override;
  void deliver_icmp_error(Owner owner, const IcmpError& error) override;
  void on_completed(Owner owner, uint32_t bytes) override;
  void on_events(Owner owner, uint32_t events) override;
  Owner on_incoming(Owner listener, SocketId child, const Endpoint& local, const Endpoint& remote) override;
  void on_acceptable(Owner listener) override;
  // Not recorded: nothing of the replay depends on it.
  void on_loop_back(LinkIndex link, const buf::Packet& packet) override { host_.on_loop_back(link, packet); }
  void on_address(LinkIndex link, bool usable, const wire::MacAddress& other) override { host_.on_address(link, usable, other); }

 private:
  // A payload in two pieces is recorded as one.
  void entry(EntryKind kind, ByteSpan fields, ByteSpan payload = {}, ByteSpan rest = {});
  Host& host_;
  ByteSink& sink_;
};

}  // namespace ferry::stack

#include "link/decorators/capture.h"

#include "link/decorators/forwarding.h"
#include "link/gather.h"

namespace ferry::link {
namespace {

class CapturedLink final : public Forwarding<Capture>, private FrameSink, private PayloadPlacer {
 public:
  using Forwarding::Forwarding;

  void start(std::unique_ptr<PcapngWriter> writer, CaptureFilter filter) override {
    writer_ = std::move(writer);
    filter_ = std::move(filter);
    watch_placer();
  }
  uint64_t stop() override {
    const uint64_t frames = writer_ == nullptr ? 0 : writer_->frames();
    writer_.reset();
    watch_placer();
    return frames;
  }
  bool recording() const override { return writer_ != nullptr && !writer_->full() && !writer_->failed(); }
  void record(Direction direction, ByteSpan frame) override {
    if (writer_ != nullptr && filter_.matches(frame, static_cast<uint32_t>(frame.size()))) writer_->write(now_, direction, frame);
  }

  Status send(const buf::Packet& packet, const buf::Memory& memory) override {
    Status sent = Forwarding::send(packet, memory);
    if (writer_ != nullptr && sent.ok()) record_sent(packet, memory);
    return sent;
  }
  uint32_t receive(FrameSink& sink, uint32_t budget) override {
    if (writer_ == nullptr) return Forwarding::receive(sink, budget);
    FrameSink* outer = std::exchange(sink_, &sink);
    const uint32_t received = Forwarding::receive(*this, budget);
    sink_ = outer;
    return received;
  }
  void advance(Instant now) override {
    now_ = now;
    Forwarding::advance(now);
  }
  bool set_placer(PayloadPlacer* placer) override {
    if (!Forwarding::set_placer(placer)) return false;
    placer_ = placer;
    watch_placer();
    return true;
  }

 private:
  void record_sent(const buf::Packet& packet, const buf::Memory& memory) {
    Gathered g;
    // The headers are enough for most filters; what they would look at beyond them counts as absent.
    if (!gather(packet, memory, g)) return;
    const ByteSpan head = packet.header_length > 0 ? packet.header_bytes() : packet.tail;
    if (!filter_.matches(head, packet.frame_length())) return;
    std::array<ByteSpan, buf::Packet::kMaxPayloadParts + 2> pieces;
    for (size_t i = 1; i < g.count; ++i)
      pieces[i - 1] = ByteSpan(static_cast<const std::byte*>(g.pieces[i].iov_base), g.pieces[i].iov_len);
    writer_->write(now_, Direction::outbound, std::span(pieces.data(), g.count - 1));
  }

  void on_frame(const buf::Frame& frame) override {
    record(Direction::inbound, frame.bytes);
    sink_->on_frame(frame);
  }

  // While recording, stand between the link and whoever places payload.
  void watch_placer() {
    if (placer_ != nullptr) Forwarding::set_placer(writer_ != nullptr ? static_cast<PayloadPlacer*>(this) : placer_);
  }
  bool place(const buf::Frame& head, uint32_t frame_length, Place& place) override {
    if (!placer_->place(head, frame_length, place)) return false;
    place_ = place;
    return true;
  }
  void on_placed(const buf::Frame& headers, uint32_t frame_length) override {
    const ByteSpan pieces[] = {headers.bytes, place_.first, place_.second};
    if (writer_ != nullptr && filter_.matches(headers.bytes, frame_length)) writer_->write(now_, Direction::inbound, pieces);
    placer_->on_placed(headers, frame_length);
  }
  void on_abandoned() override { placer_->on_abandoned(); }

  std::unique_ptr<PcapngWriter> writer_;
  CaptureFilter filter_;
  Instant now_;
  FrameSink* sink_ = nullptr;
  PayloadPlacer* placer_ = nullptr;
  Place place_;
};

}  // namespace

std::unique_ptr<Capture> make_capture(std::unique_ptr<Link> inner) { return std::make_unique<CapturedLink>(std::move(inner)); }

}  // namespace ferry::link

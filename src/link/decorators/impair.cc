#include "link/decorators/impair.h"

#include <vector>

#include "link/decorators/bad_path.h"
#include "link/decorators/forwarding.h"
#include "link/gather.h"
#include "link/no_memory.h"

namespace ferry::link {
namespace {

class ImpairedLink final : public Forwarding<Impair>, private FrameSink {
 public:
  ImpairedLink(std::unique_ptr<Link> inner, const ImpairOptions& o)
      : Forwarding(std::move(inner)),
        impairs_tx_(o.transmit.any() || o.always_segment),
        impairs_rx_(o.receive.any() || o.always_segment),
        out_(o.transmit, o.seed),
        in_(o.receive, o.seed ^ 0x9e3779b97f4a7c15) {}

  Status send(const buf::Packet& packet, const buf::Memory& memory) override {
    if (!impairs_tx_) return Forwarding::send(packet, memory);
    Gathered g;
    if (!gather(packet, memory, g)) return Errc::malformed;
    gathered_.resize(g.bytes);
    copy_gathered(g, gathered_);
    out_.offer(now_, {gathered_, packet.offload});
    return {};
  }

  void flush() override {
    send_due();
    Forwarding::flush();
  }

  uint32_t receive(FrameSink& sink, uint32_t budget) override {
    if (!impairs_rx_) return Forwarding::receive(sink, budget);
    inner().receive(*this, budget);
    uint32_t received = 0;
    for (; received < budget; ++received) {
      const std::vector<std::byte>* frame = in_.front(now_);
      if (frame == nullptr) break;
      const std::vector<std::byte> kept = *frame;  // the sink may come back to us
      in_.drop_front();
      sink.on_frame({kept, {}});
    }
    return received;
  }

  void advance(Instant now) override {
    now_ = now;
    Forwarding::advance(now);
    send_due();
    Forwarding::flush();
  }
  Instant next_deadline() const override {
    // A frame that the inner link refused waits for room, not for time.
    const Instant own = earlier(inner().wants_write() ? Instant::never() : out_.next_due(), in_.next_due());
    return earlier(own, inner().next_deadline());
  }
  bool set_placer(PayloadPlacer*) override { return false; }  // frames are held back here
  const ImpairCounters& transmit_counters() const override { return out_.counters(); }
  const ImpairCounters& receive_counters() const override { return in_.counters(); }

 private:
  void on_frame(const buf::Frame& frame) override { in_.offer(now_, frame); }

  void send_due() {
    while (const std::vector<std::byte>* frame = out_.front(now_)) {
      buf::Packet packet;
      packet.tail = *frame;
      packet.payload_length = static_cast<uint32_t>(frame->size());
      const Status sent = inner().send(packet, NoMemory());
      if (!sent && sent.error() == Errc::again) return;
      out_.drop_front();
    }
  }

  bool impairs_tx_, impairs_rx_;
  Instant now_;
  BadPath out_, in_;
  std::vector<std::byte> gathered_;
};

}  // namespace

std::unique_ptr<Impair> make_impair(std::unique_ptr<Link> inner, const ImpairOptions& options) {
  return std::make_unique<ImpairedLink>(std::move(inner), options);
}

}  // namespace ferry::link

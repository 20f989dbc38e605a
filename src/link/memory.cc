#include "link/memory.h"

#include <deque>
#include <vector>

#include "link/gather.h"
#include "wire/ethernet.h"

namespace ferry::link {
namespace {

struct StoredFrame {
  std::vector<std::byte> bytes;
  buf::Offload offload;
};

// One direction.
struct Queue {
  std::deque<StoredFrame> frames;
  uint64_t bytes = 0;
  bool receiver_gone = false;
};

class MemoryLink final : public Link {
 public:
  MemoryLink(const char* name, const wire::MacAddress& mac, const MemoryOptions& options, std::shared_ptr<Queue> out,
             std::shared_ptr<Queue> in)
      : name_(name), options_(options), out_(std::move(out)), in_(std::move(in)) {
    capabilities_.mac = mac;
    capabilities_.mtu = options.mtu;
    capabilities_.max_gso = options.max_gso;
    capabilities_.checksum_tx = capabilities_.checksum_rx = options.checksums;
  }
  ~MemoryLink() override {
    in_->receiver_gone = true;
    in_->frames.clear();
    in_->bytes = 0;
  }

  const Capabilities& capabilities() const override { return capabilities_; }
  void flush() override {}
  int poll_fd() const override { return -1; }
  bool wants_write() const override { return refused_ && !is_full(0); }
  const std::string& name() const override { return name_; }
  const Counters& counters() const override { return counters_; }

  Status send(const buf::Packet& packet, const buf::Memory& memory) override {
    Gathered g;
    if (!allowed(packet) || !gather(packet, memory, g)) {
      ++counters_.tx_errors;
      return Errc::malformed;
    }
    if (out_->receiver_gone) {
      ++counters_.tx_dropped;
      return {};
    }
    refused_ = is_full(g.bytes);
    if (refused_) return Errc::again;
    StoredFrame stored;
    stored.bytes.resize(g.bytes);
    copy_gathered(g, stored.bytes);
    stored.offload = packet.offload;
    out_->bytes += g.bytes;
    out_->frames.push_back(std::move(stored));
    ++counters_.tx_frames;
    counters_.tx_bytes += g.bytes;
    return {};
  }

  uint32_t receive(FrameSink& sink, uint32_t budget) override {
    uint32_t received = 0;
    for (; received < budget && !in_->frames.empty(); ++received) {
      const StoredFrame stored = std::move(in_->frames.front());
      in_->frames.pop_front();
      in_->bytes -= stored.bytes.size();
      ++counters_.rx_frames;
      counters_.rx_bytes += stored.bytes.size();
      sink.on_frame({stored.bytes, stored.offload});
    }
    return received;
  }

 private:
  bool is_full(size_t more) const {
    return out_->frames.size() >= options_.queue_frames || (!out_->frames.empty() && out_->bytes + more > options_.queue_bytes);
  }
  // As strict as a real link: what a network card would not take must not pass in a test either.
  bool allowed(const buf::Packet& packet) const {
    if (packet.frame_length() < wire::kEthernetHeaderBytes) return false;
    if (packet.offload.needs_checksum && !options_.checksums) return false;
    const size_t ip_length = packet.frame_length() - wire::kEthernetHeaderBytes;
    if (packet.offload.gso_type == buf::GsoType::none) return ip_length <= options_.mtu;
    const bool big = packet.offload.uncut_v4() && packet.payload_length <= options_.max_gso;
    return options_.max_gso != 0 && ip_length <= (big ? buf::kMaxSuperPacket : buf::kMaxIpPacket) && packet.offload.gso_size > 0 &&
           packet.offload.gso_size < options_.mtu && packet.offload.needs_checksum;
  }

  std::string name_;
  MemoryOptions options_;
  Capabilities capabilities_;
  Counters counters_;
  std::shared_ptr<Queue> out_, in_;
  bool refused_ = false;
};

}  // namespace

LinkPair make_memory_pair(const MemoryOptions& options) {
  auto to_a = std::make_shared<Queue>(), to_b = std::make_shared<Queue>();
  return {std::make_unique<MemoryLink>("memory:a", options.mac_a, options, to_b, to_a),
          std::make_unique<MemoryLink>("memory:b", options.mac_b, options, to_a, to_b)};
}

}  // namespace ferry::link

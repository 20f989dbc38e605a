#include "link/decorators/bad_path.h"

#include <algorithm>

#include "wire/ethernet.h"

namespace ferry::link {
namespace {
// So many frames cost more than their bytes; empty ones must not be free.
constexpr size_t kLeastBytes = 64;
// Delay × rate of the longest and fastest path worth simulating.
constexpr uint64_t kMaxWaitingBytes = 256u << 20;
constexpr int64_t kBitNs = 8 * 1'000'000'000ll;  // per byte at one bit a second
size_t cost(size_t bytes) { return std::max(bytes, kLeastBytes); }
}  // namespace

BadPath::BadPath(const Impairment& impairment, uint64_t seed) : impairment_(impairment), rng_(seed), scratch_(kSegmentScratch) {}

void BadPath::offer(Instant now, const buf::Frame& frame) {
  now_ = now;
  if (cut_segments(frame, scratch_, *this) == 0) ++counters_.malformed;
}

void BadPath::on_segment(ByteSpan bytes) {
  if (happens(impairment_.loss)) {
    ++counters_.lost;
    return;
  }
  enter(bytes);
  if (happens(impairment_.duplicate)) {
    ++counters_.duplicated;
    enter(bytes);
  }
}

void BadPath::enter(ByteSpan bytes) {
  if (queue_is_full(bytes.size()) || waiting_bytes_ + cost(bytes.size()) > kMaxWaitingBytes) {
    ++counters_.overflowed;
    return;
  }
  std::vector<std::byte> copy(bytes.begin(), bytes.end());
  if (happens(impairment_.corrupt)) corrupt(copy);

  Instant out = now_;
  if (impairment_.rate_bits != 0) {
    const Instant start = std::max(now_, bottleneck_free_);
    out = start + Duration::ns(static_cast<int64_t>(bytes.size() * kBitNs / impairment_.rate_bits));
    bottleneck_free_ = out;
  }
  out = out + impairment_.delay;
  if (impairment_.jitter > Duration::zero()) {
    const uint64_t limit = static_cast<uint64_t>(impairment_.jitter.count_ns()) + 1;
    out = out + Duration::ns(static_cast<int64_t>(rng_.next() % limit));
  }
  if (happens(impairment_.reorder)) {
    ++counters_.reordered;
    out = out + impairment_.reorder_hold;
  }
  waiting_bytes_ += cost(copy.size());
  waiting_.emplace(Key{out.ns(), serial_++}, std::move(copy));
}

// Tail drop in front of the bottleneck. An idle one takes any frame.
bool BadPath::queue_is_full(size_t more) const {
  if (impairment_.rate_bits == 0 || bottleneck_free_ <= now_) return false;
  const auto backlog_ns = static_cast<uint64_t>((bottleneck_free_ - now_).count_ns());
  // In two factors, so that neither product leaves 64 bits.
  const uint64_t backlog_bytes = backlog_ns / 1000 * (impairment_.rate_bits / 8) / 1'000'000;
  return backlog_bytes + more > impairment_.queue_bytes;
}

// One bit of an IP packet, which checksums are there to find. Others (ARP) have none: on a real wire the frame check sequence,
// which no software sees, protects them.
void BadPath::corrupt(std::vector<std::byte>& bytes) {
  constexpr size_t kHeader = wire::kEthernetHeaderBytes;
  if (bytes.size() <= kHeader) return;
  const uint16_t type = load_be16(bytes, 12);
  if (type != wire::kEtherIpv4 && type != wire::kEtherIpv6) return;
  ++counters_.corrupted;
  const uint32_t bit = rng_.below(static_cast<uint32_t>((bytes.size() - kHeader) * 8));
  bytes[kHeader + bit / 8] ^= std::byte{static_cast<uint8_t>(1u << bit % 8)};
}

const std::vector<std::byte>* BadPath::front(Instant now) const {
  return waiting_.empty() || next_due() > now ? nullptr : &waiting_.begin()->second;
}

void BadPath::drop_front() {
  const auto first = waiting_.begin();
  waiting_bytes_ -= cost(first->second.size());
  waiting_.erase(first);
}

}  // namespace ferry::link

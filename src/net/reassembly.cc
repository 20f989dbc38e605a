// Reassembly. RFC 815's holes are kept the other way round, as the ranges that have arrived: in order there is only one.
#include "net/reassembly.h"

#include "port/api/alloc.h"
#include "wire/checksum.h"

namespace ferry::net {
namespace {

constexpr uint32_t kMaxPayload = 65535 - wire::kIpv4HeaderBytes;

// RFC 3168 section 5.3: congestion seen by one fragment is seen by the datagram. Not-ECT beside the others is nobody's doing but
// an error's (or an attempt to hide a mark); -1: drop.
int merged_ecn(uint8_t seen) {
  const bool not_ect = (seen & 1 << wire::kNotEct) != 0;
  const bool marked = (seen & 1 << wire::kCongestionExperienced) != 0;
  if (not_ect && seen != 1 << wire::kNotEct) return marked ? -1 : wire::kNotEct;
  if (marked) return wire::kCongestionExperienced;
  return (seen & 1 << wire::kEct0) != 0 ? wire::kEct0 : (seen & 1 << wire::kEct1) != 0 ? wire::kEct1 : wire::kNotEct;
}

}  // namespace

Reassembler::~Reassembler() {
  while (Partial* p = partials_.front()) remove(*p);
  release_finished();
}

std::optional<wire::Ipv4View> Reassembler::add(Instant now, LinkIndex link, const wire::Ipv4View& fragment) {
  release_finished();
  ++counters_.fragments_in;
  const ByteSpan bytes = fragment.payload();
  const uint32_t begin = fragment.fragment_offset();
  const uint32_t end = begin + static_cast<uint32_t>(bytes.size());
  const bool last = !fragment.more_fragments();
  if (bytes.empty() || (!last && bytes.size() % 8 != 0) || end > kMaxPayload ||
      (begin == 0 && end + fragment.header_length() > 65535)) {
    counters_.drop(Drop::fragment_malformed);
    return {};
  }
  Partial* p = find(link, fragment);
  if (p == nullptr) p = start(now, link, fragment);
  if (p == nullptr) {
    counters_.drop(Drop::fragment_memory);
    return {};
  }
  if (p->poisoned) {
    counters_.drop(Drop::fragment_overlap);
    return {};
  }
  // The end may be said once only, and nothing may lie beyond it.
  const uint32_t reached = p->range_count == 0 ? 0 : p->ranges[p->range_count - 1].end;
  if ((p->total != 0 && (end > p->total || (last && end != p->total))) || (last && reached > end)) {
    poison(*p, Drop::fragment_overlap);
    return {};
  }
  if (!reserve(*p, end)) {
    counters_.drop(Drop::fragment_memory);
    return {};
  }
  switch (insert(*p, {begin, end}, bytes)) {
    case Fit::repeated: return {};
    case Fit::overlap: poison(*p, Drop::fragment_overlap); return {};
    case Fit::too_many: poison(*p, Drop::fragment_memory); return {};
    case Fit::fresh: break;
  }
  counters_.payload_bytes_copied += bytes.size();
  p->ecn_seen = static_cast<uint8_t>(p->ecn_seen | 1 << fragment.ecn());
  if (last) p->total = end;
  if (begin == 0) {
    p->header_length = static_cast<uint8_t>(fragment.header_length());
    p->first_length = end;
    copy_bytes({p->buffer + kHeaderRoom - p->header_length, p->header_length}, fragment.header());
  }
  if (p->total == 0 || p->range_count != 1 || p->ranges[0].begin != 0 || p->ranges[0].end != p->total) return {};
  return finish(*p);
}

Reassembler::Partial* Reassembler::find(LinkIndex link, const wire::Ipv4View& f) {
  for (Partial* p = partials_.back(); p != nullptr; p = partials_.prev(*p)) {
    if (p->identification == f.identification() && p->source == f.source() && p->destination == f.destination() &&
        p->protocol == f.protocol() && p->link == link)
      return p;
  }
  return nullptr;
}

// When there are too many, the oldest gives way: it is the least likely to be completed.
Reassembler::Partial* Reassembler::start(Instant now, LinkIndex link, const wire::Ipv4View& f) {
  if (count_ == kMaxDatagrams) {
    counters_.drop(Drop::fragment_memory);
    remove(*partials_.front());
  }
  Partial* p = make<Partial>();
  if (p == nullptr) return nullptr;
  p->link = link;
  p->source = f.source();
  p->destination = f.destination();
  p->identification = f.identification();
  p->protocol = f.protocol();
  p->deadline = now + kTimeout;
  partials_.push_back(*p);
  ++count_;
  return p;
}

Reassembler::Partial* Reassembler::expired(Instant now) {
  Partial* p = partials_.front();
  return p != nullptr && p->deadline <= now ? p : nullptr;
}

// Grows by doubling, so that a datagram in order is copied at most twice.
bool Reassembler::reserve(Partial& p, uint32_t payload_bytes) {
  if (payload_bytes <= p.capacity) return true;
  uint32_t capacity = p.capacity == 0 ? 4096 : p.capacity;
  while (capacity < payload_bytes) capacity *= 2;
  if (capacity > kMaxPayload) capacity = kMaxPayload;
  const uint32_t more = capacity - p.capacity;
  while (bytes_ + more > kMaxBytes && partials_.front() != &p) {
    counters_.drop(Drop::fragment_memory);
    remove(*partials_.front());
  }
  if (bytes_ + more > kMaxBytes) return false;
  auto* buffer = static_cast<std::byte*>(port::allocate(kHeaderRoom + capacity));
  if (buffer == nullptr) return false;
  if (p.buffer != nullptr) {
    copy_bytes({buffer, kHeaderRoom + capacity}, {p.buffer, kHeaderRoom + p.capacity});
    port::release(p.buffer);
  }
  p.buffer = buffer;
  p.capacity = capacity;
  bytes_ += more;
  return true;
}

Reassembler::Fit Reassembler::insert(Partial& p, Range r, ByteSpan bytes) {
  uint32_t at = 0;
  while (at < p.range_count && p.ranges[at].end < r.begin) ++at;  // ranges[at] ends at or behind our beginning
  std::byte* place = p.buffer + kHeaderRoom + r.begin;
  // Walk over a range that only touches us from the left.
  const bool joins_left = at < p.range_count && p.ranges[at].end == r.begin;
  const uint32_t right = joins_left ? at + 1 : at;
  if (right < p.range_count && p.ranges[right].begin < r.end) {
    const Range& there = p.ranges[right];
    const bool inside = there.begin <= r.begin && r.end <= there.end;
    return inside && equal_bytes({place, bytes.size()}, bytes) ? Fit::repeated : Fit::overlap;
  }
  const bool joins_right = right < p.range_count && p.ranges[right].begin == r.end;
  if (!joins_left && !joins_right && p.range_count == kMaxRanges) return Fit::too_many;
  copy_bytes({place, bytes.size()}, bytes);
  if (joins_left && joins_right) {
    p.ranges[at].end = p.ranges[right].end;
    --p.range_count;
    for (uint32_t i = right; i < p.range_count; ++i) p.ranges[i] = p.ranges[i + 1];
  } else if (joins_left) {
    p.ranges[at].end = r.end;
  } else if (joins_right) {
    p.ranges[right].begin = r.begin;
  } else {
    for (uint32_t i = p.range_count; i > at; --i) p.ranges[i] = p.ranges[i - 1];
    p.ranges[at] = r;
    ++p.range_count;
  }
  return Fit::fresh;
}

void Reassembler::poison(Partial& p, Drop reason) {
  counters_.drop(reason);
  p.poisoned = true;
  release_buffer(p);
}

std::optional<wire::Ipv4View> Reassembler::finish(Partial& p) {
  const int ecn = merged_ecn(p.ecn_seen);
  const uint32_t length = p.header_length + p.total;
  if (ecn < 0 || length > 65535) {
    counters_.drop(Drop::fragment_malformed);
    remove(p);
    return {};
  }
  MutableByteSpan datagram(p.buffer + kHeaderRoom - p.header_length, length);
  const MutableByteSpan header = datagram.first(p.header_length);
  store_u8(header, 1, static_cast<uint8_t>((load_u8(header, 1) & ~3) | ecn));
  store_be16(header, 2, static_cast<uint16_t>(length));
  store_be16(header, 6, 0);
  store_be16(header, 10, 0);
  wire::Checksum sum;
  sum.add(header);
  store_be16(header, 10, sum.finish());
  finished_ = p.buffer;
  bytes_ -= p.capacity;
  p.buffer = nullptr;
  p.capacity = 0;
  remove(p);
  auto view = wire::Ipv4View::parse(datagram);
  FERRY_ASSERT(view.ok());
  ++counters_.datagrams_reassembled;
  return *view;
}

std::optional<wire::Ipv4View> Reassembler::first_fragment(const Partial& p) const {
  if (p.header_length == 0 || p.buffer == nullptr) return {};
  auto view = wire::Ipv4View::parse({p.buffer + kHeaderRoom - p.header_length, p.header_length + p.first_length});
  if (!view) return {};
  return *view;
}

void Reassembler::release_buffer(Partial& p) {
  port::release(p.buffer);
  bytes_ -= p.capacity;
  p.buffer = nullptr;
  p.capacity = 0;
}

void Reassembler::remove(Partial& p) {
  release_buffer(p);
  partials_.erase(p);
  --count_;
  destroy(&p);
}

void Reassembler::release_finished() {
  port::release(finished_);
  finished_ = nullptr;
}

}  // namespace ferry::net

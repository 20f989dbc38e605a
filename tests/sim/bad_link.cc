// The ways of going wrong; see bad_link.h.
#include "bad_link.h"

#include "wire/ethernet.h"

namespace ferry::sim {

std::vector<Arrival> BadLink::carry(Instant now, const std::vector<std::byte>& frame, const buf::Offload& offload) {
  std::vector<Arrival> arrivals;
  if (free_at_ < now) free_at_ = now;
  if (quality_.bits_per_second > 0)
    free_at_ = free_at_ + Duration::ns(static_cast<int64_t>(frame.size() * 8 * 1'000'000'000 / quality_.bits_per_second));
  if (chance(quality_.loss)) return arrivals;
  const int copies = chance(quality_.duplicate) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    Arrival a;
    a.at = free_at_ + quality_.delay;
    if (const auto jitter = static_cast<uint32_t>(quality_.jitter.count_us()); jitter > 0)
      a.at = a.at + Duration::us(rng_.below(jitter));
    if (chance(quality_.reorder)) a.at = a.at + quality_.held_back;
    a.bytes = frame;
    a.offload = offload;
    // ARP has no checksum: damage there is not a transport's to find. Neither is it when the checksum was never made.
    const bool ip = frame.size() > wire::kEthernetHeaderBytes && load_be16(ByteSpan(frame), 12) == wire::kEtherIpv4;
    if (ip && !offload.needs_checksum && chance(quality_.corrupt))
      a.bytes[rng_.below(static_cast<uint32_t>(frame.size()))] ^= std::byte{static_cast<uint8_t>(1 + rng_.below(255))};
    arrivals.push_back(std::move(a));
  }
  return arrivals;
}

}  // namespace ferry::sim

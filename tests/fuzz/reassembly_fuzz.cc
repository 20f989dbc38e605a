// Reassembly: fragments of a few datagrams in any order, overlapping or not, with time passing. Bounds hold, and a finished
// datagram has at each place a byte that some fragment brought for that place.
#include <array>
#include <bitset>
#include <memory>
#include <vector>

#include "fuzz_input.h"
#include "net/reassembly.h"

namespace {

using namespace ferry;
using fuzz::check;

constexpr size_t kIds = 4;
constexpr size_t kPlaces = 512;  // offsets that the model watches

// Which bytes were offered for each place since the last time the datagram was finished.
using Model = std::array<std::bitset<256>, kPlaces>;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto models = std::make_unique<std::array<Model, kIds>>();
  for (auto& model : *models) model.fill({});
  fuzz::FuzzInput in(data, size);
  Counters counters;
  net::Reassembler reassembler(counters);
  Instant now;
  std::vector<std::byte> fragment;
  while (!in.empty()) {
    const uint8_t control = in.u8();
    if (control >= 0xf8) {
      now = now + Duration::seconds(control - 0xf0);
      reassembler.expire(now, [](net::LinkIndex, const wire::Ipv4View& beginning) { check(!beginning.payload().empty()); });
      continue;
    }
    const size_t id = control % kIds;
    wire::Ipv4Fields ip;
    ip.identification = static_cast<uint16_t>(id);
    ip.more_fragments = (control & 0x10) != 0;
    ip.tos = control >> 6 & 3;
    ip.protocol = 17;
    const uint8_t place = in.u8();
    ip.fragment_offset = static_cast<uint16_t>((control & 0x20 ? 8191 - place : place) * 8);
    const ByteSpan payload = in.bytes(in.u8());
    ip.total_length = static_cast<uint16_t>(20 + payload.size());
    fragment.resize(ip.total_length);
    ip.emit(fragment);
    copy_bytes(MutableByteSpan(fragment).subspan(20), payload);
    auto& model = (*models)[id];
    for (size_t i = 0; i < payload.size(); ++i)
      if (ip.fragment_offset + i < kPlaces) model[ip.fragment_offset + i].set(std::to_integer<size_t>(payload[i]));

    auto whole = reassembler.add(now, 0, *wire::Ipv4View::parse(fragment));
    check(reassembler.datagrams() <= net::Reassembler::kMaxDatagrams && reassembler.bytes() <= net::Reassembler::kMaxBytes);
    if (!whole) continue;
    check(!whole->is_fragment() && whole->checksum_ok() && whole->identification() == id);
    const ByteSpan result = whole->payload();
    for (size_t i = 0; i < result.size() && i < kPlaces; ++i) check(model[i].test(std::to_integer<size_t>(result[i])));
    model.fill({});
  }
  return 0;
}

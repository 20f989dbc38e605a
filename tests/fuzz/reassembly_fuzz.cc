// Reassembly: fragments of a few datagrams in any order, overlapping or not, with time passing. Bounds hold, and all that was
// offered for a place of a finished datagram is what stands there: nobody can put other bytes over those of somebody else.
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

// What was offered for one datagram since it was begun.
struct Model {
  std::array<std::bitset<256>, kPlaces> offered;
  bool begun = false;
  Instant deadline;
  uint32_t reached = 0;

  void forget() {
    if (begun) *this = Model();
  }
  void offer(Instant now, uint32_t begin, ByteSpan bytes) {
    if (!begun) deadline = now + net::Reassembler::kTimeout;
    begun = true;
    for (size_t i = 0; i < bytes.size() && begin + i < kPlaces; ++i) offered[begin + i].set(load_u8(bytes, i));
    if (begin + bytes.size() > reached) reached = begin + static_cast<uint32_t>(bytes.size());
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto models = std::make_unique<std::array<Model, kIds>>();
  for (Model& model : *models) model.forget();
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
      for (Model& model : *models)
        if (model.deadline <= now) model.forget();
      continue;
    }
    const size_t id = control % kIds;
    wire::Ipv4Fields ip;
    ip.identification = static_cast<uint16_t>(id);
    ip.more_fragments = (control & 0x10) != 0;
    ip.tos = control >> 6 & 3;
    ip.protocol = 17;
    const uint8_t place = in.u8();
    const ByteSpan payload = in.bytes(in.u8());
    // One fragment, or as many of them with gaps in between, each of which is a piece to be kept apart.
    const uint32_t teeth = (control & 4) != 0 ? in.u8() % 64 : 1;
    const uint32_t gap = static_cast<uint32_t>(payload.size() + 7) / 8;
    for (uint32_t tooth = 0; tooth < teeth; ++tooth) {
      ip.fragment_offset = static_cast<uint16_t>((control & 0x20 ? 8191 - place : place + tooth * 2 * gap) % 8192 * 8);
      ip.total_length = static_cast<uint16_t>(20 + payload.size());
      fragment.resize(ip.total_length);
      ip.emit(fragment);
      copy_bytes(MutableByteSpan(fragment).subspan(20), payload);
      const uint32_t begin = ip.fragment_offset, end = begin + static_cast<uint32_t>(payload.size());
      const bool sound = !payload.empty() && (!ip.more_fragments || payload.size() % 8 == 0) && end <= 65535 - 20;
      Model& model = (*models)[id];
      if (sound) model.offer(now, begin, payload);

      const uint32_t unfinished = reassembler.datagrams();
      auto whole = reassembler.add(now, 0, *wire::Ipv4View::parse(fragment));
      check(reassembler.datagrams() <= net::Reassembler::kMaxDatagrams && reassembler.bytes() <= net::Reassembler::kMaxBytes);
      if (!whole) {
        if (reassembler.datagrams() < unfinished) model.forget();  // complete, but impossible: ECN fields that contradict
        continue;
      }
      check(!whole->is_fragment() && whole->checksum_ok() && whole->identification() == id);
      const ByteSpan result = whole->payload();
      check(model.reached == result.size());
      for (size_t i = 0; i < result.size() && i < kPlaces; ++i)
        check(model.offered[i].count() == 1 && model.offered[i].test(load_u8(result, i)));
      model.forget();
    }
  }
  return 0;
}

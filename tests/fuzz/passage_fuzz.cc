// A passage as either client reads it: the other one has written anything anywhere in the region, between any two steps. What is read and
// written stays in the ring, positions are this side's own, signals touch this side's queues only, and what an honest pair passes is unharmed.
#include <cstring>

#include "fuzz_input.h"
#include "ipc/passage.h"
#include "ipc/peer_region.h"

namespace {

using namespace ferry;
using fuzz::check;
namespace abi = ipc::abi;

constexpr uint32_t kPassage = 3;
volatile std::byte g_seen;

ipc::PeerRegionView& region() {
  static ipc::PeerRegionView view = [] {
    auto memfd = ipc::make_peer_memfd();
    check(memfd.ok());
    auto mapped = ipc::map_peer_memfd(memfd->get());
    check(mapped.ok());
    return *mapped;
  }();
  return view;
}

// A hostile store: in the words of the passage, or of a queue.
void scribble(fuzz::FuzzInput& in) {
  const uint64_t value = (in.u8() & 1) != 0 ? uint64_t{in.u32()} << 32 | in.u32() : in.u8();
  const uint32_t at = in.u8();
  std::byte* base = (at & 1) != 0 ? reinterpret_cast<std::byte*>(&region().end(kPassage, at >> 1 & 1))
                                  : reinterpret_cast<std::byte*>(&region().queue(at >> 1 & 1, at >> 2 & 7));
  const uint32_t size = (at & 1) != 0 ? sizeof(abi::PassageEnd) : sizeof(abi::PeerQueue);
  std::memcpy(base + in.u8() * 4 % (size - 8), &value, sizeof value);
}

void write(ipc::PassageProducer& out, uint32_t length) {
  const uint64_t before = out.position();
  auto used = out.used();
  if (!used || *used == abi::kPassageBytes) return;
  const MutableByteSpan room = out.room(*used);
  const std::byte* ring = region().ring(kPassage, 0);
  check(room.data() >= ring && room.data() + room.size() <= ring + abi::kPassageBytes && !room.empty());
  const auto n = static_cast<uint32_t>(length < room.size() ? length : room.size());
  std::memset(room.data(), 0x5a, n);
  out.commit(n);
  check(out.position() == before + n);
}

void refer(ipc::PassageProducer& out, fuzz::FuzzInput& in) {
  if (out.can_refer(uint64_t{in.u8()} << 16)) out.refer({0, in.u32(), in.u32(), in.u32(), in.u16(), in.u16(), 0});
}

// Looks some pieces ahead, and reads the first if it is one.
void read(ipc::PassageConsumer& in, uint32_t ahead) {
  ipc::PassageConsumer::Place place = in.place();
  for (uint32_t i = 0; i <= ahead; ++i) {
    const auto piece = in.at(place);
    if (!piece || piece->empty()) return;
    uint32_t n = static_cast<uint32_t>(piece->bytes.size());
    if (piece->refers) {
      const auto& r = piece->reference;
      check(r.length > place.used && r.offset % abi::kHugePageSize + r.length <= abi::kHugePageSize && r.hold < abi::kPeerHolds &&
            r.region >= 1 && r.region <= abi::kMaxRegions);
      n = (r.length - place.used + 1) / 2;
    } else {
      const std::byte* ring = region().ring(kPassage, 1);
      check(piece->bytes.data() >= ring && piece->bytes.data() + n <= ring + abi::kPassageBytes);
      g_seen = piece->bytes.front();
      g_seen = piece->bytes.back();
    }
    const ipc::PassageConsumer::Place before = place;
    ipc::PassageConsumer::pass(place, *piece, n);
    check(piece->refers ? place.position == before.position && place.references - before.references <= 1
                        : place.position == before.position + n && place.references == before.references);
    if (ahead > 0) continue;
    in.consume(*piece, n);
    check(in.place().position == place.position && in.place().references == place.references && in.place().used == place.used);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::FuzzInput in(data, size);
  for (uint32_t side : {0u, 1u}) {
    std::memset(static_cast<void*>(&region().end(kPassage, side)), 0, sizeof(abi::PassageEnd));
    std::memset(static_cast<void*>(&region().queue(side, 0)), 0, sizeof(abi::PeerQueue) * 8);
  }
  abi::PassageEnd &mine = region().end(kPassage, 0), &theirs = region().end(kPassage, 1);
  ipc::PassageProducer out(mine, theirs, region().ring(kPassage, 0));
  ipc::PassageConsumer input(mine, theirs, region().ring(kPassage, 1));
  while (!in.empty()) {
    switch (in.u8() % 5) {
      case 0: scribble(in); break;
      case 1: write(out, in.u16() * 8u + 1); break;
      case 2: read(input, in.u8() & 7); break;
      case 3: refer(out, in); break;
      default:
        theirs.waiters = 0;  // no system call for every input
        ipc::signal_passage(theirs, kPassage, &region().queue(1, 0), [](uint32_t queue) { check(queue < abi::kMaxQueues); });
    }
  }
  return 0;
}

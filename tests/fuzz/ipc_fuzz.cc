// The shared-memory protocol as the server reads it: the client has written anything anywhere in the channel, between any two
// steps. What the readers of ipc/ accept must be inside the pools, their work bounded, their own indices their own.
#include <cstring>
#include <memory>

#include "fuzz_input.h"
#include "ipc/channel_layout.h"
#include "ipc/descriptor_ring.h"
#include "ipc/doorbell.h"
#include "ipc/event_queue.h"
#include "ipc/lock.h"

namespace {

using namespace ferry;
using fuzz::check;
namespace abi = ipc::abi;

ipc::ChannelMap& channel() {
  static ipc::ChannelMap map = [] {
    ipc::ChannelConfig config;
    config.max_sockets = 70;
    config.max_queues = 3;
    config.output_size = config.input_size = 16 * abi::kPageSize;
    auto made = ipc::ChannelMap::create(config);
    check(made.ok());
    return std::move(*made);
  }();
  return map;
}

volatile std::byte g_seen;  // reads of payload must happen

// As the server made it, so that every input stands for itself.
void start_afresh() {
  static const auto header = std::make_unique<abi::ChannelHeader>(channel().header());
  std::memset(channel().base(), 0, channel().layout().output.offset);
  std::memcpy(channel().base(), header.get(), sizeof *header);
}

// A hostile store: in the control part, mostly where the words of a socket, a queue or the header are.
void scribble(fuzz::FuzzInput& in) {
  ipc::ChannelMap& map = channel();
  uint64_t at = in.u16();
  switch (in.u8() % 4) {
    case 0: at = at % sizeof(abi::ChannelHeader); break;
    case 1: at = map.layout().queues_offset + at % (3 * sizeof(abi::EventQueue)); break;
    case 2: at = map.layout().sockets_offset + at % (2 * sizeof(abi::SocketShared)); break;
    default: at = at * 8 % map.layout().total_size;
  }
  const uint32_t value = (in.u8() & 1) != 0 ? in.u32() : in.u8();
  at = at / 4 * 4;
  if (at + 4 <= map.layout().total_size) std::memcpy(map.base() + at, &value, 4);
}

void read_header() {
  const auto layout = ipc::ChannelLayout::read(channel().header(), channel().layout().total_size);
  if (!layout) return;
  check(layout->input.offset + layout->input.size <= channel().layout().total_size);
  check(layout->sockets_offset + layout->max_sockets * sizeof(abi::SocketShared) <= layout->output.offset);
}

void read_output(ipc::RingConsumer& ring, uint32_t slot) {
  abi::SocketShared& s = channel().socket(slot);
  const uint32_t before = ring.next();
  const auto available = ring.available(s.tx_produced);
  if (!available) return;
  check(*available <= abi::kRingEntries);
  for (uint32_t i = 0; i < *available; ++i) {
    const abi::Descriptor d = ring.peek(s.tx, i);
    if (!ipc::is_inside(d, channel().layout().output)) continue;
    for (std::byte b : channel().bytes(d.offset, d.length)) g_seen = b;
  }
  ring.advance(s.tx_taken, *available);
  check(ring.next() == before + *available && s.tx_taken == ring.next());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::FuzzInput in(data, size);
  start_afresh();
  ipc::RingConsumer rings[2];
  while (!in.empty()) {
    const uint8_t what = in.u8();
    const uint32_t slot = what >> 7;
    switch (what % 8) {
      case 0: read_header(); break;
      case 1: {
        uint32_t calls = 0;
        ipc::take_slots(channel().header().doorbell[0], 70, [&](uint32_t s) { check(s < 70), ++calls; });
        check(calls <= 70);
        break;
      }
      case 2: read_output(rings[slot], slot); break;
      case 3: {
        uint32_t wakes = 0;
        ipc::signal_socket(channel().socket(slot), slot, in.u8(), channel().queues(), 3, [&](uint32_t q) { check(q < 3), ++wakes; });
        check(wakes <= abi::kWatches);
        break;
      }
      case 4: {
        uint32_t out[8];
        const uint32_t n = ipc::take_some_slots(channel().queue(slot).ready, 70, out, in.u8() % 9);
        for (uint32_t i = 0; i < n; ++i) check(out[i] < 70);
        break;
      }
      case 5: {
        abi::SocketShared& s = channel().socket(slot);
        if (ipc::revoke(s.tx_lock)) check(ipc::is_released(s.tx_lock));
        ipc::end_revocation(s.tx_lock, true);
        check((s.tx_lock & abi::kLockRevoked) == 0);
        break;
      }
      case 6:
        if (ipc::prepare_idle(channel().header(), 0)) ipc::end_idle(channel().header(), 0);
        check(channel().header().server_idle[0] == 0);
        break;
      default: scribble(in);
    }
  }
  return 0;
}

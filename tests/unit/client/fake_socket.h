// What a FakeServer (fake_server.h) knows of a client and of a socket.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ipc/channel_layout.h"
#include "ipc/control.h"
#include "ipc/descriptor_ring.h"
#include "ipc/owned_fd.h"
#include "ipc/pool.h"

namespace ferry::client::test {

namespace abi = ipc::abi;
namespace control = ipc::control;

struct FakeChannel {
  ipc::ChannelMap map;
  ipc::OwnedFd kick, lifeline_write;
  std::unique_ptr<ipc::Pool> input;
  std::vector<uint32_t> generations;
  std::vector<ipc::OwnedFd> queue_pipes;
  uint32_t pairs = 0;           // numbers given out
  struct Region {
    std::byte* base = nullptr;
    uint64_t size = 0;
  };
  Region regions[abi::kMaxRegions];

  // What a descriptor of the client names; empty: nothing.
  ByteSpan find(const abi::Descriptor& d) const {
    if (d.region == 0) return ipc::is_inside(d, map.layout().output) ? map.bytes(d.offset, d.length) : ByteSpan();
    if (d.region > abi::kMaxRegions) return {};
    const Region& r = regions[d.region - 1];
    return d.offset <= r.size && d.length <= r.size - d.offset ? ByteSpan(r.base + d.offset, d.length) : ByteSpan();
  }
};

struct FakeSocket {
  uint32_t kind = abi::kKindTcp;
  ipc::OwnedFd pair;            // the server's end of K
  uint64_t cookie = 0;          // of K
  uint32_t number = control::kNoPair;  // of the pair in the channel's stock
  struct Place {
    FakeChannel* channel;
    uint32_t slot, generation;
  };
  std::vector<Place> places;
  int home = -1;
  uint32_t ready = 0;
  // of the home
  ipc::RingConsumer tx;
  ipc::RingProducer rx;
  uint64_t completed = 0, rx_delivered = 0, rx_freed = 0;
  static constexpr uint64_t kLent = ~uint64_t{0};
  std::deque<std::pair<uint64_t, uint32_t>> runs;  // in the ring: offset, kLent if it is in lent memory; length
  uint16_t input_done = 0;      // lent pieces
  // of the test
  std::string received;                 // bytes or datagrams (header included) that the client sent
  std::vector<uint16_t> flags;          // of the descriptors
  std::deque<std::string> pending;      // to be delivered, one descriptor each
  bool echo = false, complete = true, take = true;
  bool fill_lent = true;        // puts input into lent memory, if there is some
  uint64_t filled_lent = 0;     // bytes
  uint64_t taken_bytes = 0, referenced = 0;
  bool peer_closed = false, output_shut = false;

  abi::SocketShared& shared() { return places[static_cast<size_t>(home)].channel->map.socket(places[static_cast<size_t>(home)].slot); }
};

}  // namespace ferry::client::test

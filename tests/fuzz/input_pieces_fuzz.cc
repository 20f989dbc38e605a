// Memory that a client lends for input, as the server reads it: the client has written anything into the socket's words, between any two
// steps. What is accepted lies inside of the client's region, and what the client is told is true.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <vector>

#include "fuzz_input.h"
#include "server/client_regions.h"
#include "server/input_pieces.h"

namespace {

using namespace ferry;
using fuzz::check;
namespace abi = ipc::abi;

// Region 1 can be written to, 2 only read.
struct World {
  server::Memory memory{1 << 20};
  server::ClientRegions regions{memory};
  World() {
    for (uint32_t number : {1u, 2u}) {
      const int fd = memfd_create("region", MFD_CLOEXEC | MFD_ALLOW_SEALING);
      check(ftruncate(fd, abi::kHugePageSize) == 0);
      check(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | (number == 2 ? F_SEAL_WRITE : 0)) == 0);
      check(regions.add(number, fd, abi::kHugePageSize, nullptr).ok());
      close(fd);
    }
  }
};

void scribble(fuzz::FuzzInput& in, abi::SocketShared& s) {
  auto* begin = reinterpret_cast<std::byte*>(&s.input);
  constexpr size_t kSize = offsetof(abi::SocketShared, tx) - offsetof(abi::SocketShared, input);
  const uint32_t value = (in.u8() & 1) != 0 ? in.u32() : in.u8();
  std::memcpy(begin + in.u8() % (kSize / 4) * 4, &value, 4);
}

// A piece as a client that keeps its promises lends it.
void lend(fuzz::FuzzInput& in, abi::SocketShared& s, uint64_t position) {
  s.input[s.input_produced % abi::kInputPieces] = {position + in.u8(), uint64_t{in.u16()} * 32, in.u16(), 1, 0};
  s.input_produced = static_cast<uint16_t>(s.input_produced + 1);
}

// What the server has taken, and where it has put payload.
struct Model {
  abi::InputPiece pieces[abi::kInputPieces];
  bool withdrawn[abi::kInputPieces];  // when the server looked: a client cannot take that back
  uint16_t taken = 0, done = 0;
  struct Put {
    uint64_t offset, end;  // in the region; position of the stream behind it
  };
  std::vector<Put> put;

  static bool holds(const abi::InputPiece& p, uint64_t offset) { return offset >= p.offset && offset - p.offset < p.length; }
  void take(const abi::SocketShared& s) {
    check(static_cast<uint16_t>(s.input_produced - taken) <= abi::kInputPieces);
    for (; taken != s.input_produced; ++taken) {
      pieces[taken % abi::kInputPieces] = s.input[taken % abi::kInputPieces];
      withdrawn[taken % abi::kInputPieces] = false;
    }
  }
  // Pieces before `now` are the client's again.
  void finish(const abi::SocketShared& s, uint16_t now, uint64_t delivered, uint64_t read) {
    check(static_cast<uint16_t>(now - done) <= static_cast<uint16_t>(taken - done));
    for (uint16_t i = done; i != taken; ++i) {  // as far as the server has looked
      withdrawn[i % abi::kInputPieces] |= static_cast<int16_t>(s.input_withdrawn - i) > 0;
      if (i == now) break;
    }
    for (; done != now; ++done) {
      const abi::InputPiece& p = pieces[done % abi::kInputPieces];
      check(delivered >= p.position + p.length || withdrawn[done % abi::kInputPieces]);
      for (const Put& each : put) {
        const auto others = std::count_if(std::begin(pieces), std::end(pieces), [&](const auto& q) { return holds(q, each.offset); });
        if (holds(p, each.offset) && others == 1) check(each.end <= read);
      }
    }
    std::erase_if(put, [&](const Put& p) { return p.end <= read; });
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static World world;
  fuzz::FuzzInput in(data, size);
  abi::SocketShared s;
  std::memset(static_cast<void*>(&s), 0, sizeof s);
  server::InputPieces pieces;
  Model model{};
  uint64_t delivered = 0, read = 0;
  while (!in.empty()) {
    switch (in.u8() % 6) {
      case 0: scribble(in, s); break;
      case 1: lend(in, s, delivered); break;
      case 2: s.input_withdrawn = static_cast<uint16_t>(s.input_withdrawn + in.u8() % 4); break;
      case 3: {  // payload comes
        if (!pieces.take(world.regions, s)) return 0;
        model.take(s);
        const uint32_t length = 1 + in.u16();
        const buf::IoDesc room = pieces.room(s, delivered, length);
        delivered += length;
        if (room.empty()) break;
        check(room.length == length && world.regions.number_of(room.region) == 1);
        MutableByteSpan bytes = world.memory.write(room);
        check(bytes.size() == length);
        bytes.front() = bytes.back() = std::byte{1};
        model.put.push_back({room.offset, delivered});
        break;
      }
      case 4: read += std::min<uint64_t>(delivered - read, in.u16()); break;
      default:
        pieces.finish(s, delivered, read);
        model.finish(s, static_cast<uint16_t>(s.input_done), delivered, read);
    }
  }
  return 0;
}

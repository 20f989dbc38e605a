// Memory that a client gave the server by its memfd, so that output can be referred to where the program has it, and input put into pages
// that are to be the program's (docs/shm-abi.md, "Regions"): named by a number that the client chose and a RegionId of the server's.
//
// Owns: the mappings of one client. Does not own: the descriptors that name bytes in them; who forgets a region keeps it here until
// nothing of the client's output or input is in it.
// Trust: only a memfd that can neither shrink nor grow is mapped, so that no access leaves the file. Its client can change the bytes
// and punch holes (they read as zeros): that garbles its own output and input.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "ipc/abi.h"
#include "ipc/owned_fd.h"
#include "server/memory.h"
#include "server/unique_fd.h"

namespace ferry::server {

class ClientRegions {
 public:
  explicit ClientRegions(Memory& memory) : memory_(memory) {}
  ~ClientRegions();
  ClientRegions(const ClientRegions&) = delete;
  ClientRegions& operator=(const ClientRegions&) = delete;

  // Maps `memfd` (borrowed) as region `number`, 1 … abi::kMaxRegions, in place of what had that number, which is forgotten. Errc::invalid: no such
  // number, no sealed memfd of whole huge pages, or one of more than `most` bytes; too_many: no room in a table (forgotten regions
  // that are still referred to count); no_memory.
  Status add(uint32_t number, int memfd, uint64_t most, Channel* channel);
  // Errc::invalid: there is none; too_many: as above.
  Status forget(uint32_t number);
  // All that there are.
  void forget_all();
  // Nothing of the client's output is referred to any more: unmaps what was forgotten.
  void release_forgotten();

  // The server's name for a (copied) descriptor's bytes; empty: it names no region, or leaves it.
  buf::IoDesc locate(const ipc::abi::Descriptor& d) const;
  // Likewise for memory that input may be put into; empty also if the region cannot be written to.
  buf::IoDesc locate_input(const ipc::abi::InputPiece& piece) const;
  // The memfd of a region, for another client of the same user (ipc/control.h, Op::peer_memory). -1: there is none.
  int memfd(uint32_t number) const;
  // The client's number of a region that has not been forgotten; 0: it is none.
  uint32_t number_of(buf::RegionId id) const;
  uint64_t mapped_bytes() const;

 private:
  struct Region {
    std::byte* base = nullptr;
    uint64_t size = 0;
    buf::RegionId id = 0;
    bool writable = false;
    UniqueFd memfd;  // may be missing
  };
  Region map(int memfd, uint64_t size, Channel* channel);
  buf::IoDesc bytes_of(uint32_t number, uint64_t offset, uint32_t length) const;

  void unmap(Region& region);

  Memory& memory_;
  std::array<Region, ipc::abi::kMaxRegions> regions_{};  // by number - 1
  std::vector<Region> forgotten_;
};

}  // namespace ferry::server

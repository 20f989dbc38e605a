// One receive from a stream, from its first look at the ring to its result.
#pragma once

#include <optional>

#include "client/home.h"
#include "client/input_window.h"
#include "client/iov_cursor.h"
#include "client/socket.h"

namespace ferry::client {

struct Socket::Receiving {
  explicit Receiving(std::span<const iovec> data) : to(data), wanted(to.left()) {}

  IovCursor to;
  size_t wanted;           // bytes
  int flags = 0;           // MSG_*
  bool patient = false;    // it waits until much is there
  bool in_region = false;  // its buffer is in memory whose pages can be exchanged
  size_t got = 0;          // bytes taken, those that are held included
  HeldInput held;          // the last of them
  Home* holder = nullptr;  // where they were taken
  size_t missing = 0;      // of `got`: the last of them have not come to the program, whose memory is not there
  size_t missed = 0;       // bytes that this look at the ring copied out of lent memory
  std::optional<ipc::abi::PassageReference> unmapped;  // what comes next refers to memory that this process has not mapped
  uint32_t mappings = 0;   // that this receive has asked for
  bool refused = false;    // one of them was
};

// Bytes and pages that were exchanged instead of copied, for copy accounting.
inline void count_swapped(Home& h, size_t bytes, size_t pages) {
  if (bytes == 0 && pages == 0) return;
  store_relaxed(h.shared->swapped_in, atomic_add(h.swapped_in, uint64_t{bytes}) + bytes);
  const auto n = static_cast<uint32_t>(pages);
  store_relaxed(h.shared->swapped_pages, atomic_add(h.swapped_pages, n) + n);
}

}  // namespace ferry::client

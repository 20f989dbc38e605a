// Socket numbers: index and generation, so that the number of a socket that is gone is recognised.
//
// Owns: the table. Does not own: the sockets.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace ferry::stack {

struct Socket;

class SocketTable {
 public:
  explicit SocketTable(uint32_t max_sockets) : max_(max_sockets) {}
  ~SocketTable();
  SocketTable(const SocketTable&) = delete;
  SocketTable& operator=(const SocketTable&) = delete;

  // Gives the socket a number. Errc::too_many, no_memory.
  Result<uint64_t> add(Socket& socket);
  // Puts the socket back under a number it had in another life of the stack. Errc::too_many, address_in_use (taken), no_memory,
  // malformed (0, or an index beyond the bound).
  Status restore(Socket& socket, uint64_t id);
  void remove(uint64_t id);
  // nullptr: no such socket.
  Socket* find(uint64_t id) const {
    const uint32_t index = static_cast<uint32_t>(id) - 1;
    return index < size_ && slots_[index].generation == id >> 32 ? slots_[index].socket : nullptr;
  }
  // Indices from 0; nullptr: free.
  uint32_t slot_count() const { return size_; }
  Socket* at(uint32_t index) const { return slots_[index].socket; }
  uint32_t count() const { return count_; }

 private:
  struct Slot {
    Socket* socket = nullptr;
    uint32_t generation = 1;
    uint32_t next_free = 0;  // index + 1
  };
  Status grow(uint32_t size);

  uint32_t max_;
  Slot* slots_ = nullptr;
  uint32_t size_ = 0;        // slots in existence
  uint32_t capacity_ = 0;
  uint32_t count_ = 0;       // in use
  uint32_t first_free_ = 0;  // index + 1
};

}  // namespace ferry::stack

// Memory that a client has lent for the input of one of its streams (abi::InputPiece): where payload goes that is to be exchanged for pages
// of the program's instead of copied (docs/architecture.md, "Emulated copy: input by page swap").
//
// Owns: the server's copies of the pieces, from the moment they are seen until the client is told that it can have them back. Does not own:
// the memory, which is in a region of the client's (client_regions.h).
// Trust: a piece is copied once and checked against the region. A client that lends the same memory twice, or writes there, garbles its own
// input. Nothing is written in front of what the stream has delivered, so what a client has read stays as it is.
#pragma once

#include <cstdint>

#include "buf/io_desc.h"
#include "ipc/abi.h"

namespace ferry::server {

class ClientRegions;

class InputPieces {
 public:
  // Copies what has been lent since the last time. False: no piece of a region of the client's that can be written to, too many of them, or
  // fewer than before.
  [[nodiscard]] bool take(const ClientRegions& regions, const ipc::abi::SocketShared& s);
  // Where `length` bytes of the stream from `position` on go; empty: no piece has room for all of them. What is delivered there is read in
  // order, so `position` must be the next one.
  buf::IoDesc room(const ipc::abi::SocketShared& s, uint64_t position, uint32_t length) const;
  // Tells the client what it can have back, given how much of the stream was delivered and how much of it the client has read.
  void finish(ipc::abi::SocketShared& s, uint64_t delivered, uint64_t read);
  bool empty() const { return taken_ == done_; }

 private:
  struct Piece {
    uint64_t position = 0;
    buf::IoDesc memory;
    uint64_t stop = 0;     // delivered when it was found withdrawn
    bool stopped = false;
  };
  static bool is_withdrawn(const ipc::abi::SocketShared& s, uint16_t index);

  Piece pieces_[ipc::abi::kInputPieces];
  uint16_t taken_ = 0, done_ = 0;  // free-running
};

}  // namespace ferry::server

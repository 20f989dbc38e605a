// Early demultiplexing in ferryd: the payload of a large frame is received by the link straight into memory of the client that owns the
// connection, before the stack sees the frame. When the stack then asks where the payload is to go, it is there already.
//
//   link: head of the frame --prepare()--> Stack::payload_owner, room in the owner's input pool --> link: recvmsg into it
//         --> engine: Stack::on_frame(headers, detached) --> Host::place() --take()--> a descriptor, without a copy --> finish()
//
// Owns: the room between prepare() and finish(), one frame at a time. What the stack did not take (it was there before, or is not
// wanted) goes back to the pool.
#pragma once

#include "buf/io_desc.h"
#include "server/sockets.h"
#include "stack/stack.h"

namespace ferry::server {

class EarlyPlacement {
 public:
  explicit EarlyPlacement(Context& context) : ctx_(context) {}

  // Who will write to the room: decides how it is counted.
  enum class Filled : uint8_t { by_link, by_copy };
  // Room for `length` bytes of payload for the socket; empty: let the frame come whole. `is_next`: see stack::PayloadOwner.
  MutableByteSpan prepare(Socket& socket, uint32_t length, Filled filled, bool is_next = false);
  // The room. The client may write to it at any time.
  ByteSpan bytes() const { return bytes_; }
  // `payload` lies in the room and is for this owner: the descriptor of it, which is the stack's now. Empty: copy it. Parts of the
  // room are taken in the order of their addresses.
  buf::IoDesc take(stack::Owner owner, ByteSpan payload);
  void finish();

 private:
  void give_back(uint32_t from, uint32_t to);

  Context& ctx_;
  stack::Owner owner_ = 0;
  Channel* channel_ = nullptr;
  buf::IoDesc room_;       // empty: there is none
  MutableByteSpan bytes_;  // of it
  uint32_t taken_ = 0;     // what lies before this has been taken or given back
  Filled filled_ = Filled::by_link;
};

}  // namespace ferry::server

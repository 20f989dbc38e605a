// Random programs on the two ends of a connection: they send a known pattern in odd pieces, read in odd pieces, half-close, close or
// abort, and say whether what came was right.
//
// Driven by steps: the simulation calls step() when the program is due; the program asks for its next step by wake_at. It steps by itself
// only while it has something to do; otherwise only an event wakes it, so that an event that is missing shows as a stuck connection.
#pragma once

#include <string>

#include "base/rng.h"
#include "support/memory_host.h"

namespace ferry::sim {

// How a program leaves.
enum class Leaving : uint8_t {
  orderly,      // sends all, shuts down, reads to the end, closes
  close_early,  // closes without reading what is left
  abort,        // resets in the middle
};

struct Plan {
  uint64_t pattern = 0;        // seed of what it sends
  uint64_t peer_pattern = 0;   // of what it must receive
  uint32_t send_bytes = 0;
  uint32_t peer_bytes = 0;     // that the peer means to send
  uint32_t max_piece = 1;      // of a send and of a read
  uint32_t leave_after = 0;    // close_early, abort: bytes sent or received before it
  Leaving leaving = Leaving::orderly;
  bool fragile = false;        // this or the other end does not leave orderly, or the path is hopeless: failing is no fault
  bool urgent = false;
};

class Application {
 public:
  Application(support::MemoryHost& host, stack::Owner owner, const Plan& plan, uint64_t seed)
      : host_(host), owner_(owner), plan_(plan), rng_(seed) {}

  void attach(stack::SocketId id) { id_ = id; }
  stack::SocketId id() const { return id_; }
  stack::Owner owner() const { return owner_; }
  void on_events(uint32_t events, const stack::Stack& stack, Instant now);
  // Does a random part of what can be done.
  void step(stack::Stack& stack, Instant now);
  // When step() is wanted; never: nothing to do until something happens.
  Instant wake_at() const { return done() ? Instant::never() : wake_; }
  // A child may be used once it was accepted.
  void expect_accept() { accepted_ = false; }
  void accepted() { accepted_ = true; }
  bool ready() const { return accepted_; }
  // Has closed its socket, or its connection never came to be.
  bool done() const { return left_ || (closed_ && !accepted_); }
  bool over() const { return closed_; }  // Event::closed was reported
  // Empty: all is as it should be so far.
  const std::string& complaint() const { return complaint_; }
  std::string state() const;

 private:
  bool send_some(stack::Stack& stack, Instant now);
  bool read_some(stack::Stack& stack, Instant now);
  void leave(stack::Stack& stack, Instant now, stack::CallOp how);
  void complain(const std::string& text);
  void wake_soon(Instant now);

  support::MemoryHost& host_;
  const stack::Owner owner_;
  Plan plan_;
  Rng rng_;
  stack::SocketId id_ = 0;
  Instant wake_ = Instant::never();
  uint32_t sent_ = 0, received_ = 0;
  bool accepted_ = true;
  bool connected_ = false, shut_ = false, peer_closed_ = false, failed_ = false, left_ = false, closed_ = false;
  std::string complaint_;
};

// Byte `position` of the stream with this pattern.
inline std::byte pattern_byte(uint64_t pattern, uint64_t position) {
  const uint64_t x = (position + pattern) * 0x9e3779b97f4a7c15ULL;
  return std::byte{static_cast<uint8_t>((x >> 56) ^ (x >> 32))};
}

}  // namespace ferry::sim

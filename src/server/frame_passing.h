// Frames that reach an engine and concern others as well, or another one alone.
//
//   to all:  ARP, ICMP errors, fragments of TCP: the link gives them to the first engine
//   to one:  flows that a program has tied to a local port whose flows come to another engine (bind(2), then connect(2))
#pragma once

#include <cstdint>
#include <map>
#include <shared_mutex>
#include <tuple>

#include "base/atomics.h"
#include "buf/packet.h"
#include "stack/stack.h"

namespace ferry::server {

// Whether the stacks of all engines are to see the frame.
bool concerns_all(ByteSpan frame);

// Connections that live in an engine to which the link does not give their frames. Seldom any: while there is none, nobody is locked.
class StrayFlows {
 public:
  static constexpr uint32_t kNone = ~0u;
  void add(uint16_t local_port, const stack::Endpoint& remote, uint32_t engine);
  void remove(uint16_t local_port, const stack::Endpoint& remote);
  // Which engine has the connection of that frame; kNone: it is none of these.
  uint32_t find(const buf::Frame& frame) const;

 private:
  using Key = std::tuple<uint16_t, uint32_t, uint16_t>;  // local port, remote address and port
  static Key key_of(uint16_t local_port, const stack::Endpoint& remote) {
    return {local_port, remote.address.v4().value, remote.port};
  }
  mutable std::shared_mutex mutex_;
  std::map<Key, uint32_t> flows_;
  uint32_t count_ = 0;  // atomic
};

}  // namespace ferry::server

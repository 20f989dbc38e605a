// Datagrams and messages in the rings: one entry is a header (abi::DatagramHeader or abi::MessageHeader) with the payload behind it.
#pragma once

#include <cstring>

#include "base/atomics.h"
#include "client/home.h"

namespace ferry::client {

// The entry at the head of the input ring and the copy of its header. False: the ring is empty, or (dead channel) nonsense. Under rx_lock.
template <typename Header>
bool head_record(Home& h, ipc::abi::Descriptor& d, Header& header) {
  const auto available = h.rx.available(h.shared->rx_produced);
  if (available && *available == 0) return false;
  bool good = available.ok();
  if (good) {
    d = h.rx.peek(h.shared->rx);
    good = ipc::is_inside(d, h.channel->map().layout().input) && d.length >= sizeof header;
  }
  if (good) {
    std::memcpy(&header, h.channel->map().bytes(d.offset, sizeof header).data(), sizeof header);
    good = header.payload_length <= d.length - sizeof header && h.rx_used <= header.payload_length;
  }
  if (!good) h.channel->mark_dead();
  return good;
}

// Is done with the entry at the head. Under rx_lock.
inline void consume_record(Home& h, const ipc::abi::Descriptor& d) {
  store_relaxed(h.rx_bytes, h.rx_bytes + d.length);
  store_release(h.shared->rx_consumed_bytes, h.rx_bytes);
  h.rx.advance(h.shared->rx_consumed);
}

}  // namespace ferry::client

// One TCP connection, sans-IO (RFC 9293): segments, timer expiries and user calls come in with the time; segments, placed and
// delivered data and events go out through Host. Single-threaded, deterministic, never blocks.
//
// Owns: sequence space, send and receive queues of I/O descriptors, timers' deadlines. Does not own: payload memory (the
// host's), ports and demultiplexing (stack/), headers below TCP (net/).
#pragma once

#include <cstdint>

#include "base/list.h"
#include "base/result.h"
#include "base/time.h"
#include "buf/io_desc.h"
#include "tcp/segment.h"
#include "wire/address.h"

namespace ferry::tcp {

class Connection;

enum class Event : uint32_t {      // bits
  established = 1,                 // handshake done (active or passive)
  readable = 2,                    // delivered data since the last call
  writable = 4,                    // send buffer space freed; see Host::on_completed for the bytes
  peer_closed = 8,                 // FIN delivered in order
  failed = 16,                     // reset, timed out, unreachable: error() says which; the connection is closed
  closed = 32,                     // state CLOSED (or TIME_WAIT handed to the stack): nothing more will happen
  urgent = 64,                     // urgent pointer advanced
};

// What a connection needs from outside. Calls come only from inside Connection's functions, synchronously.
class Host {
 public:
  // Sends a segment now. `payload` parts are valid until the call returns. A refusal is treated as loss.
  virtual void emit(Connection& c, const OutputSegment& segment) = 0;
  // Copies received payload to memory of the connection's owner. Refusal (Errc::no_buffers): the data counts as not received.
  virtual Result<buf::IoDesc> place(Connection& c, ByteSpan payload) = 0;
  // Placed data that will never be delivered (connection torn down, duplicate).
  virtual void discard(Connection& c, const buf::IoDesc& d) = 0;
  // Placed data, next in order, becomes the owner's.
  virtual void deliver(Connection& c, const buf::IoDesc& d) = 0;
  // The first `bytes` of output not yet completed are no longer referred to (acknowledged, or dropped at the end).
  virtual void on_completed(Connection& c, uint32_t bytes) = 0;
  virtual void on_events(Connection& c, uint32_t events) = 0;
  // The deadline may have changed; the host re-reads next_deadline() before it sleeps.
  virtual void on_deadline_changed(Connection& c) = 0;

 protected:
  ~Host() = default;
};

}  // namespace ferry::tcp

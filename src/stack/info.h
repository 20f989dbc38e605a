// What a stack tells about itself: values and visitors for the queries of Stack. Queries are const, are no inputs and are
// not recorded. Nothing here is kept up to date: a value is true at the time of the call.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/time.h"
#include "wire/address.h"

namespace ferry::stack {

enum class TimerKind : uint8_t { none, retransmit, keep_alive, time_wait, persist, other };

// One socket as `ferry ss` shows it.
struct SocketInfo {
  uint64_t socket = 0;          // SocketId; 0 for records without a socket (TIME_WAIT, half-open requests)
  uint64_t owner = 0;           // 0: nobody (closed by its owner, lingering)
  uint8_t type = 0;             // SocketType
  uint8_t tcp_state = 0;        // tcp::State; listeners: tcp::State::listen
  wire::Endpoint local, remote;
  uint32_t receive_queue = 0;   // bytes delivered and not consumed; listener: connections that wait to be accepted
  uint32_t send_queue = 0;      // bytes not acknowledged, sent or not; listener: backlog
  TimerKind timer = TimerKind::none;
  Duration timer_remaining;
  uint32_t retransmits = 0;
  Errc error = Errc::ok;        // why Event::failed was reported
  uint32_t send_buffer = 0, receive_buffer = 0;  // bytes, as now (autotuning)
  uint16_t mss = 0;             // connection: payload bytes per wire segment
  uint64_t urgent_mark = 0;     // connection: tcp::Connection::urgent_mark()
  uint32_t urgent_byte = 0;     // connection: tcp::Connection::urgent_byte()
};

class SocketVisitor {
 public:
  virtual void on_socket(const SocketInfo& info) = 0;

 protected:
  ~SocketVisitor() = default;
};

// Names are stable and lower case, "tcp_retransmits"; drop reasons begin with "drop_".
class CounterVisitor {
 public:
  virtual void on_counter(const char* name, uint64_t value) = 0;

 protected:
  ~CounterVisitor() = default;
};

struct NeighborInfo {
  uint32_t link = 0;            // LinkIndex
  wire::Ipv4Address address;
  wire::MacAddress mac;
  bool resolved = false;        // false: asked for, no answer yet
};

class NeighborVisitor {
 public:
  virtual void on_neighbor(const NeighborInfo& info) = 0;

 protected:
  ~NeighborVisitor() = default;
};

}  // namespace ferry::stack

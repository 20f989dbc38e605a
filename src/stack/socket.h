// Sockets as the stack holds them, and what is left of a connection in TIME_WAIT.
//
//   Socket ---- Binding (holds a local port, port_table.h)     TcpSocket: fresh -> listener, or fresh -> connection
//          \--- Flow    (has a remote end, flow_table.h)       a child of a listener: half open -> waiting -> accepted
//
// Owns: the layouts. A connection's protocol state is tcp::Connection's; it is gone (nullptr) once it is closed.
#pragma once

#include <cstdint>

#include "base/list.h"
#include "net/network.h"
#include "stack/flow_table.h"
#include "stack/port_table.h"
#include "stack/stack.h"
#include "stack/timer_heap.h"
#include "tcp/connection.h"

namespace ferry::stack {

struct TcpSocket;
struct QueueTag;
struct DeadTag;
struct OrderTag;

struct Socket : Binding, Flow, ListNode<DeadTag> {
  explicit Socket(SocketType t) : type(t) {}
  SocketType type;
  bool id_dead = false;        // the host has closed it
  bool told_closed = false;    // the host knows that nothing more will happen
  bool doomed = false;         // to be destroyed at the end of the input
  bool broadcast = false, dont_fragment = false, receive_errors = false, oob_inline = false;
  uint8_t tos = 0, ttl = 64;
  SocketId id = 0;
  Owner owner = 0;
  uint32_t receive_buffer = 0, send_buffer = 0;  // datagram sockets: the host's to respect; 0: its default
};

struct DatagramSocket : Socket {
  using Socket::Socket;
  bool connected = false;
};

// A listener's queues.
struct Listening {
  uint32_t backlog = 0;
  uint32_t half_open_count = 0, waiting_count = 0;
  List<TcpSocket, QueueTag> half_open;  // oldest first; with TCP_DEFER_ACCEPT also those that have sent no data
  List<TcpSocket, QueueTag> waiting;    // in the order of accept()
};

enum class Place : uint8_t { none, half_open, waiting, orphan };  // the list a TcpSocket is in

struct TcpSocket : Socket, TimerNode, ListNode<QueueTag> {
  TcpSocket() : Socket(SocketType::tcp) { protocol = wire::kProtocolTcp; }
  tcp::Connection* connection = nullptr;
  Listening* queues = nullptr;     // of a listener; owned
  TcpSocket* parent = nullptr;     // of a child that was not accepted yet
  Place place = Place::none;
  bool refused = false;            // the host did not want the child: to be reset
  bool muted = false;              // torn down by the stack: the host hears of the end only
  bool failed = false;             // the connection ended with `error`
  bool established = false;
  int32_t linger_s = -1;
  uint32_t defer_accept_s = 0;
  Errc error = Errc::ok;
  Instant began;                   // of a child: when its SYN came
  uint32_t path_generation = 0;    // of `path`; Engine::path_generation_
  tcp::UserOptions options;        // of a listener or a fresh socket; a connection has its own
  net::Path path;
};

struct TimeWaitEntry : Binding, Flow, ListNode<OrderTag> {
  tcp::TimeWait state;
  net::Path path;
};

}  // namespace ferry::stack

// The interface of protocol servers: what a protocol is written against, once, to be installed in a process or in the kernel
// (docs/protocol-servers.md tells it in prose, with an example).
//
//        calls: open … close          packets of its protocol, ICMP errors, the time
//                |                                    |
//   IPC --> Stack::handle --> ProtocolServer::call   on_datagram, on_icmp_error, on_timer
//                                   |    what it may use: Services (services.h)
//                                   +--> up: Host::place, deliver, … on_events     down: net::Network::send
//
// A server knows no channel, ring or wake-up: who is behind Host is not its concern. It owns its sockets (structures that derive from
// Socket) and everything of its protocol. The stack owns the numbers of sockets, and calls a server only from inside Stack::handle().
#pragma once

#include <span>

#include "base/list.h"
#include "net/network.h"
#include "stack/stack.h"
#include "tcp/connection.h"

namespace ferry::stack {

class ProtocolServer;
class RecordReader;
class Services;
struct DeadTag;

// What a server tells the owners of its sockets (bits), whatever its protocol: see tcp::Event.
using Event = tcp::Event;
constexpr uint32_t bit(Event e) { return static_cast<uint32_t>(e); }

inline CallResult failure(Errc e) {
  CallResult r;
  r.error = e;
  return r;
}

// The part of every socket that the stack looks at. A server derives its own from it.
struct Socket : ListNode<DeadTag> {
  explicit Socket(SocketType t) : type(t) {}
  SocketType type;
  bool id_dead = false;        // the host has closed it
  bool told_closed = false;    // the host knows that nothing more will happen
  bool doomed = false;         // to be destroyed at the end of the input
  ProtocolServer* server = nullptr;
  SocketId id = 0;             // 0: it has no number (any more)
  Owner owner = 0;
};

class ProtocolServer {
 public:
  // What it serves: found by type when a socket is opened, by protocol number when a datagram comes. Constant.
  virtual std::span<const Service> offers() const = 0;
  // Called once, before anything else; `services` outlives every call.
  virtual void attach(Services& services) { services_ = &services; }

  // --- sockets ---
  // A new socket for Call open, with nothing but its own state; the stack gives it number and owner. Errc::no_memory.
  virtual Result<Socket*> make_socket(const Call& call) = 0;
  // Everything but open and set_owner. `socket` is one of this server's. For close and abort the number must be given back
  // (Services::forget, or doom); everything else may fail with any Errc (not_supported for what it has no notion of).
  virtual CallResult call(Socket& socket, const Call& call) = 0;
  // Frees a doomed socket, or any when the whole stack goes (`last`: nobody may be told anything, nothing sent). The number is gone already.
  virtual void destroy(Socket& socket, bool last) = 0;

  // --- from below ---
  // A datagram of one of its protocols, complete, addressed to us. False: nobody here wants that (protocol unreachable is answered).
  virtual bool on_datagram(const net::Datagram& datagram) = 0;
  virtual void on_icmp_error(const net::IcmpError& /*error*/) {}
  // Time has come to next_deadline(). Bounded work; what is left is due at once.
  virtual void on_timer() {}
  virtual Instant next_deadline() const { return Instant::never(); }

  // --- queries: const ---
  // Fills in what it knows; number, owner and type are there.
  virtual void describe(const Socket& socket, Instant now, SocketInfo& info) const = 0;
  virtual Result<int64_t> option(const Socket& /*socket*/, Option /*option*/) const { return Errc::no_protocol_option; }
  // See Stack::protocol_option.
  virtual Result<size_t> protocol_option(const Socket& /*socket*/, int /*name*/, MutableByteSpan /*value*/, size_t /*length*/) const {
    return Errc::no_protocol_option;
  }
  // Bytes that Call send (or one message of send_message) may hand over now.
  virtual uint32_t send_space(const Socket& /*socket*/) const { return 0; }
  virtual Result<tcp::TcpInfo> tcp_info(const Socket& /*socket*/, Instant /*now*/) const { return Errc::not_supported; }
  // See Stack::payload_owner. `ip`: the head of a datagram of its protocol. header_length of the result: the transport's.
  virtual Result<PayloadOwner> payload_owner(const wire::Ipv4View& /*ip*/) const { return Errc::not_supported; }
  // See Stack::twin.
  virtual Result<Owner> twin(const Socket& /*socket*/) const { return Errc::not_supported; }
  // Sockets of its that have no number: connections that linger.
  virtual uint32_t unnumbered_count() const { return 0; }
  // These, and other state without a number: TIME_WAITs.
  virtual void for_each_unnumbered(SocketVisitor& /*visitor*/, Instant /*now*/) const {}
  virtual void for_each_counter(CounterVisitor& /*visitor*/) const {}

  // --- records (record.h); a server that keeps none loses its sockets with the process ---
  virtual Result<size_t> save(const Socket& /*socket*/, MutableByteSpan /*out*/) const { return Errc::not_supported; }
  // Every record in an order in which they can be restored; `memory` is room for one.
  virtual Status for_each_record(Stack::RecordSink& /*sink*/, MutableByteSpan /*memory*/) const { return {}; }
  // Reads on behind magic, version and type.
  virtual Result<SocketId> restore(RecordReader& /*in*/, SocketType /*type*/) { return Errc::not_supported; }

 protected:
  ~ProtocolServer() = default;
  Services& services() const { return *services_; }

 private:
  Services* services_ = nullptr;
};

}  // namespace ferry::stack

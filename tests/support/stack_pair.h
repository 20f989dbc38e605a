// Two stacks joined by a perfect wire of 10 µs, in virtual time, with the calls of the sockets API in short form: for tests of what
// sockets do. Side 0 is 10.9.0.1, side 1 is 10.9.0.2; both serve 127.0.0.0/8.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "support/memory_host.h"

namespace ferry::support {

class StackPair {
 public:
  struct Setup {
    uint32_t max_gso = 0;
    bool checksum_tx = false;
    stack::Config config;
    wire::Share share[2];              // by side, instead of the config's
    bool own_tcp[2] = {true, true};  // by side, instead of the config's
  };
  StackPair();
  explicit StackPair(const Setup& setup);
  ~StackPair();

  static wire::Endpoint at(int side, uint16_t port) {
    return {wire::IpAddress::from(wire::Ipv4Address::of(10, 9, 0, static_cast<uint8_t>(1 + side))), port};
  }
  static wire::Endpoint any(uint16_t port) { return {{}, port}; }
  static wire::Endpoint loopback(uint16_t port) { return {wire::IpAddress::from(wire::Ipv4Address::of(127, 0, 0, 1)), port}; }

  // --- calls; owners are chosen by the pair: owner_of() tells ---
  stack::SocketId open(int side, stack::SocketType type = stack::SocketType::tcp, uint32_t uid = 0);
  Errc bind(int side, stack::SocketId socket, const wire::Endpoint& local);
  Errc listen(int side, stack::SocketId socket, int64_t backlog = 16);
  Errc connect(int side, stack::SocketId socket, const wire::Endpoint& remote);
  stack::CallResult accept(int side, stack::SocketId listener);
  Errc send(int side, stack::SocketId socket, const std::string& text, uint32_t flags = 0);
  Errc send_to(int side, stack::SocketId socket, const std::string& text, const wire::Endpoint& remote,
               const wire::Endpoint& local = {});
  // Takes what was delivered and says that it was read.
  std::string receive(int side, stack::SocketId socket);
  Errc set(int side, stack::SocketId socket, stack::Option option, int64_t value);
  Errc shutdown(int side, stack::SocketId socket, int how);
  Errc close(int side, stack::SocketId socket);
  Errc abort(int side, stack::SocketId socket);
  stack::CallResult call(int side, const stack::Call& call);
  // A bound, listening socket; a pair of connected ones through it.
  stack::SocketId listener(int side, uint16_t port, int64_t backlog = 16);
  struct Connected {
    stack::SocketId client = 0, server = 0;
  };
  // A connection that the other side's listener has in its queue.
  stack::SocketId queued(int client_side, uint16_t port);
  Connected connected(int client_side, stack::SocketId server_listener, uint16_t port);

  // Lets time pass, delivering frames and timers.
  void run(Duration d = Duration::ms(50));
  Instant now() const { return now_; }

  stack::Stack& stack(int side) { return *stacks_[side]; }
  MemoryHost& host(int side) { return hosts_[side]; }
  stack::Owner owner_of(int side, stack::SocketId socket) const;
  // All tcp::Event bits reported so far.
  uint32_t events(int side, stack::Owner owner) const;
  uint32_t events_of(int side, stack::SocketId socket) const { return events(side, owner_of(side, socket)); }
  int acceptables(int side) const { return acceptables_[side]; }
  stack::SocketInfo info(int side, stack::SocketId socket);
  uint64_t counter(int side, const char* name);
  // Destroys the stack of a side and makes one from its records.
  void rebuild(int side);

  struct Datagram {
    stack::Owner owner;
    stack::DatagramInfo info;
    std::string text;
  };
  std::vector<Datagram> datagrams[2];
  struct Complaint {
    stack::Owner owner;
    stack::IcmpError error;
  };
  std::vector<Complaint> icmp_errors[2];
  std::vector<std::vector<std::byte>> sent[2];  // every frame transmitted
  std::function<bool(int side, std::vector<std::byte>& frame)> filter;  // of transmitted frames: false loses it
  bool refuse_incoming = false;
  bool detach = false;             // deliver payload detached from its headers, where the receiver knows an owner for it
  uint64_t detached_frames = 0;

 private:
  struct Frame {
    Instant at;
    int to;
    std::vector<std::byte> bytes;
    buf::Offload offload;
  };
  void create(int side);
  void deliver(const Frame& frame);

  Setup setup_;
  Instant now_ = Instant::from_ns(1'000'000'000);
  MemoryHost hosts_[2];
  stack::Stack* stacks_[2] = {};
  std::deque<Frame> wire_;
  std::map<stack::SocketId, stack::Owner> owners_[2];
  std::map<stack::Owner, uint32_t> events_[2];
  int acceptables_[2] = {};
  stack::Owner next_owner_ = 1;
};

}  // namespace ferry::support

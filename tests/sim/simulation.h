// One run: two stacks, one bad link, random programs, virtual time; everything from one seed. Optionally one stack is destroyed at
// a random event and rebuilt from its records.
#pragma once

#include <map>
#include <memory>
#include <queue>
#include <string>
#include <vector>

#include "application.h"
#include "bad_link.h"
#include "stack/replay.h"

namespace ferry::sim {

struct Options {
  uint64_t seed = 1;
  uint64_t rebuild_at = 0;  // number of the event after which a stack is rebuilt; 0: none
  bool replay = false;      // record both stacks, and check at the end that the recordings replay identically
  bool trace = false;  // every frame and event to standard error
};

struct Outcome {
  std::vector<std::string> faults;  // empty: all is well
  uint64_t events = 0, bytes = 0;
  uint32_t connections = 0, datagrams = 0;
  Duration lasted;                  // virtual
  bool rebuilt = false;
};

class Simulation {
 public:
  explicit Simulation(const Options& options);
  Outcome run();

 private:
  static constexpr int kSides = 2;
  static constexpr stack::Owner kListener = 1;
  static constexpr uint16_t kPort = 5001, kUdpPort = 5002;

  struct Side {
    wire::Ipv4Address address;
    wire::MacAddress mac;
    stack::InterfaceConfig interface;
    stack::Config config;
    support::MemoryHost host;
    struct Recording final : stack::ByteSink {
      std::vector<std::byte> bytes;
      void write(ByteSpan b) override { bytes.insert(bytes.end(), b.begin(), b.end()); }
    } recording;
    std::unique_ptr<stack::Recorder> recorder;
    struct Deleter {
      void operator()(stack::Stack* s) const { ferry::destroy(s); }
    };
    std::unique_ptr<stack::Stack, Deleter> stack;
    stack::SocketId listener = 0, udp = 0;
    bool acceptable = false;
    std::map<stack::Owner, std::unique_ptr<Application>> applications;
    std::map<stack::SocketId, stack::Owner> children;
    stack::Owner next_owner = 100;
    uint32_t datagrams_received = 0;
  };
  struct Event {
    Instant at;
    uint64_t order;
    enum Kind : uint8_t { frame, connect, datagram } kind;
    int side;
    uint32_t index;  // of frame, connection
    bool operator>(const Event& o) const { return at != o.at ? at > o.at : order > o.order; }
  };
  struct Connection {
    int client;
    bool local;  // to the client's own stack
    uint16_t client_port = 0;
    Plan client_plan, server_plan;
  };

  void create_stack(int side);
  void listen(int side);
  void keep_alive(int side, stack::SocketId socket);
  void plan();
  void connect(uint32_t index);
  void send_datagram(int side);
  void on_transmit(int side, const std::vector<std::byte>& frame, const buf::Offload& offload);
  stack::Owner on_incoming(int side, const wire::Endpoint& remote, stack::SocketId child);
  void accept_some(int side);
  bool step_once();
  void rebuild(int side);
  bool busy() const;
  void finish();
  void check_replay(int side);
  void fault(const std::string& text) { outcome_.faults.push_back(text); }
  void schedule(Instant at, Event::Kind kind, int side, uint32_t index) {
    events_.push({at, ++order_, kind, side, index});
  }
  uint64_t counter(int side, const char* name) const;

  Options options_;
  Rng rng_;
  Instant now_ = Instant::from_ns(1'000'000'000);
  Side sides_[kSides];
  std::unique_ptr<BadLink> links_[kSides];  // from side
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::map<uint32_t, Arrival> frames_;
  uint32_t next_frame_ = 0;
  uint64_t order_ = 0;
  std::vector<Connection> connections_;
  std::map<std::pair<int, uint16_t>, uint32_t> by_port_;  // client side and port -> connection
  Outcome outcome_;
};

}  // namespace ferry::sim

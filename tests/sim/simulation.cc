// The loop over events and the checks; see simulation.h.
#include "simulation.h"

#include <cstdio>
#include <cstring>

#include "tcp/connection.h"

namespace ferry::sim {
namespace {

constexpr Duration kPatience = Duration::seconds(2 * 3600);  // of virtual time: beyond it a connection is stuck

uint32_t pick(Rng& rng, std::initializer_list<uint32_t> choices) {
  return *(choices.begin() + rng.below(static_cast<uint32_t>(choices.size())));
}

stack::Call call_of(stack::CallOp op, stack::SocketId socket) {
  stack::Call call;
  call.op = op;
  call.socket = socket;
  return call;
}

}  // namespace

Simulation::Simulation(const Options& options) : options_(options), rng_(options.seed) {
  LinkQuality quality;
  quality.loss = pick(rng_, {0, 0, 50, 100, 300, 500});
  quality.duplicate = pick(rng_, {0, 0, 100, 500});
  quality.reorder = pick(rng_, {0, 0, 200, 2000});
  quality.corrupt = pick(rng_, {0, 0, 0, 100});
  quality.delay = Duration::us(pick(rng_, {1, 20, 500, 10'000, 40'000}));
  quality.jitter = Duration::us(pick(rng_, {0, 10, 1000}));
  quality.held_back = Duration::us(pick(rng_, {10, 300, 5000}));
  quality.bits_per_second = rng_.below(3) == 0 ? pick(rng_, {1'000'000, 10'000'000, 1'000'000'000}) : 0;
  const uint32_t mtu = pick(rng_, {576, 1280, 1500, 1500, 9000});
  const bool big_frames = rng_.below(2) == 0;
  for (int i = 0; i < kSides; ++i) {
    Side& s = sides_[i];
    s.address = wire::Ipv4Address::of(10, 9, 0, static_cast<uint8_t>(1 + i));
    s.mac = {{2, 0, 0, 0, 0, static_cast<uint8_t>(1 + i)}};
    s.interface.mac = s.mac;
    s.interface.prefix = {s.address, 24};
    s.interface.mtu = mtu;
    s.interface.max_gso = big_frames ? pick(rng_, {16'000, 65'000}) : 0;
    s.interface.checksum_tx = big_frames || rng_.below(4) == 0;
    s.config.seed = rng_.next();
    s.config.max_sockets = 512;
    s.config.loopback_bytes = 1u << 20;
    if (rng_.below(4) == 0) {
      const uint64_t seed = rng_.next();
      s.host.refuse_place = [r = Rng(seed)]() mutable { return r.below(20) == 0; };
    }
    links_[i] = std::make_unique<BadLink>(quality, rng_.next());
    s.host.transmit_hook = [this, i](stack::LinkIndex, const std::vector<std::byte>& f, const buf::Offload& o) {
      on_transmit(i, f, o);
      return rng_.below(200) == 0 ? Status(Errc::no_buffers) : Status();
    };
    s.host.events_hook = [this, i](stack::Owner owner, uint32_t events) {
      if (options_.trace) std::fprintf(stderr, "%.6f side %d owner %llu events %x\n", double(now_.ns()) / 1e9, i, (unsigned long long)owner, events);
      auto it = sides_[i].applications.find(owner);
      if (it != sides_[i].applications.end()) it->second->on_events(events, *sides_[i].stack, now_);
      else if (owner != kListener && owner != kListener + 1) fault("events for an owner that does not exist");
    };
    s.host.incoming_hook = [this, i](stack::Owner, stack::SocketId child, const wire::Endpoint&, const wire::Endpoint& remote) {
      return on_incoming(i, remote, child);
    };
    s.host.acceptable_hook = [this, i](stack::Owner) { sides_[i].acceptable = true; };
    s.host.datagram_hook = [this, i](stack::Owner, const stack::DatagramInfo& info, ByteSpan payload) {
      for (size_t k = 0; k < payload.size(); ++k)
        if (payload[k] != pattern_byte(payload.size(), k)) {
          fault("a datagram is damaged");
          break;
        }
      if (info.remote.port != kUdpPort) fault("a datagram from a wrong port");
      ++sides_[i].datagrams_received;
      return Status();
    };
  }
  plan();
}

void Simulation::plan() {
  const uint32_t count = pick(rng_, {1, 1, 2, 4, 12});
  const uint32_t most = count > 4 ? 30'000 : pick(rng_, {0, 1, 2000, 100'000, 400'000});
  for (uint32_t i = 0; i < count; ++i) {
    Connection c;
    c.client = static_cast<int>(rng_.below(kSides));
    c.local = rng_.below(8) == 0;
    Plan& a = c.client_plan;
    Plan& b = c.server_plan;
    a.pattern = b.peer_pattern = rng_.next();
    b.pattern = a.peer_pattern = rng_.next();
    a.send_bytes = b.peer_bytes = rng_.below(most + 1);
    b.send_bytes = a.peer_bytes = rng_.below(4) == 0 ? 0 : rng_.below(most + 1);
    const uint32_t all = a.send_bytes + b.send_bytes;
    for (Plan* p : {&a, &b}) {
      p->max_piece = pick(rng_, {1, 100, 1460, 10'000, 70'000});
      if (p->max_piece == 1 && all > 5000) p->max_piece = 50;
      if (rng_.below(8) == 0) p->leaving = rng_.below(2) == 0 ? Leaving::abort : Leaving::close_early;
      p->leave_after = rng_.below(all + 1);
      p->urgent = rng_.below(8) == 0;
    }
    a.fragile = b.fragile = a.leaving != Leaving::orderly || b.leaving != Leaving::orderly;
    connections_.push_back(c);
    schedule(now_ + Duration::us(rng_.below(pick(rng_, {1, 1000, 3'000'000}))), Event::connect, c.client, i);
  }
  const uint32_t datagrams = rng_.below(3) == 0 ? rng_.below(30) : 0;
  for (uint32_t i = 0; i < datagrams; ++i)
    schedule(now_ + Duration::us(rng_.below(2'000'000)), Event::datagram, static_cast<int>(rng_.below(kSides)), 0);
}

void Simulation::create_stack(int side) {
  Side& s = sides_[side];
  stack::Host* host = &s.host;
  if (options_.replay) {
    s.recording.bytes.clear();
    s.recorder = std::make_unique<stack::Recorder>(s.host, s.recording);
    s.recorder->start(s.config);
    host = s.recorder.get();
  }
  auto made = stack::Stack::create(s.config, *host);
  if (!made) return fault("Stack::create failed");
  s.stack.reset(*made);
  s.stack->set_observer(s.recorder.get());
  if (!s.stack->add_interface(now_, s.interface)) fault("add_interface failed");
  stack::InterfaceConfig loopback;
  loopback.prefix = {wire::Ipv4Address::of(127, 0, 0, 1), 8};
  loopback.mtu = 65535;
  loopback.max_gso = 0;
  loopback.checksum_tx = true;
  loopback.loopback = true;
  if (auto added = s.stack->add_interface(now_, loopback); !added) fault("adding loopback failed");
}

// A reset can be lost, and then only keepalive probes find out that the other end is gone.
void Simulation::keep_alive(int side, stack::SocketId socket) {
  stack::Call option = call_of(stack::CallOp::set_option, socket);
  const auto set = [&](stack::Option o, int64_t value) {
    option.option = o;
    option.number = value;
    if (sides_[side].stack->call(now_, option).error != Errc::ok) fault("setting keepalive failed");
  };
  set(stack::Option::keep_idle, 60);
  set(stack::Option::keep_interval, 5);
  set(stack::Option::keep_count, 20);
  set(stack::Option::keep_alive, 1);
}

void Simulation::listen(int side) {
  Side& s = sides_[side];
  const auto open = [&](stack::SocketType type, uint16_t port, stack::Owner owner) {
    stack::Call call;
    call.op = stack::CallOp::open;
    call.type = type;
    call.owner = owner;
    const stack::CallResult opened = s.stack->call(now_, call);
    stack::Call bind = call_of(stack::CallOp::bind, opened.socket);
    bind.local.port = port;
    if (s.stack->call(now_, bind).error != Errc::ok) fault("bind failed");
    return opened.socket;
  };
  s.listener = open(stack::SocketType::tcp, kPort, kListener);
  keep_alive(side, s.listener);
  stack::Call call = call_of(stack::CallOp::listen, s.listener);
  call.number = 64;
  if (s.stack->call(now_, call).error != Errc::ok) fault("listen failed");
  s.udp = open(stack::SocketType::udp, kUdpPort, kListener + 1);
}

void Simulation::connect(uint32_t index) {
  Connection& c = connections_[index];
  Side& s = sides_[c.client];
  const stack::Owner owner = s.next_owner++;
  auto app = std::make_unique<Application>(s.host, owner, c.client_plan, rng_.next());
  Application& a = *app;
  s.applications[owner] = std::move(app);
  stack::Call call;
  call.op = stack::CallOp::open;
  call.type = stack::SocketType::tcp;
  call.owner = owner;
  a.attach(s.stack->call(now_, call).socket);
  keep_alive(c.client, a.id());
  // Loss must not exhaust the handshake; some programs bind first.
  stack::Call option = call_of(stack::CallOp::set_option, a.id());
  option.option = stack::Option::syn_count;
  option.number = 60;
  s.stack->call(now_, option);
  option.option = stack::Option::no_delay;
  option.number = rng_.below(2);
  s.stack->call(now_, option);
  if (rng_.below(4) == 0) {
    option.option = stack::Option::receive_buffer;
    option.number = 3000 + rng_.below(60000);
    s.stack->call(now_, option);
  }
  c.client_port = static_cast<uint16_t>(10000 + index);  // known, so that the server side finds its plan
  stack::Call bind = call_of(stack::CallOp::bind, a.id());
  bind.local.port = c.client_port;
  if (s.stack->call(now_, bind).error != Errc::ok) fault("bind of a client failed");
  by_port_[{c.client, c.client_port}] = index;
  call = call_of(stack::CallOp::connect, a.id());
  const wire::Ipv4Address to = c.local ? (rng_.below(2) == 0 ? wire::Ipv4Address::of(127, 0, 0, 1) : s.address)
                                       : sides_[1 - c.client].address;
  call.remote = {wire::IpAddress::from(to), kPort};
  const Errc e = s.stack->call(now_, call).error;
  if (e != Errc::in_progress) fault(std::string("connect: ") + errc_name(e));
  ++outcome_.connections;
}

void Simulation::send_datagram(int side) {
  Side& s = sides_[side];
  const uint32_t size = rng_.below(3) == 0 ? rng_.below(60'000) : rng_.below(1400);
  std::vector<std::byte> bytes(size);
  for (uint32_t i = 0; i < size; ++i) bytes[i] = pattern_byte(size, i);
  stack::Call call = call_of(stack::CallOp::send_datagram, s.udp);
  call.data = s.host.provide(kListener + 1, bytes);
  call.info.remote = {wire::IpAddress::from(sides_[1 - side].address), kUdpPort};
  s.stack->call(now_, call);
  if (size > 0) s.host.withdraw(kListener + 1);
  ++outcome_.datagrams;
}

void Simulation::on_transmit(int side, const std::vector<std::byte>& frame, const buf::Offload& offload) {
  if (options_.trace) std::fprintf(stderr, "%.6f side %d sends %zu bytes\n", double(now_.ns()) / 1e9, side, frame.size());
  if (offload.gso_size == 0 && frame.size() > sides_[side].interface.mtu + 14) fault("a frame is larger than the MTU");
  if (offload.needs_checksum && !sides_[side].interface.checksum_tx) fault("a checksum was left to a link that makes none");
  if (offload.gso_size > 0 && frame.size() > sides_[side].interface.max_gso + 134) fault("a frame is larger than max_gso");
  for (Arrival& a : links_[side]->carry(now_, frame, offload)) {
    const uint32_t id = next_frame_++;
    const Instant at = a.at;
    frames_[id] = std::move(a);
    schedule(at, Event::frame, 1 - side, id);
  }
}

stack::Owner Simulation::on_incoming(int side, const wire::Endpoint& remote, stack::SocketId child) {
  Side& s = sides_[side];
  const bool local = remote.address == wire::IpAddress::from(s.address) || remote.address.v4().is_loopback();
  auto it = by_port_.find({local ? side : 1 - side, remote.port});
  if (it == by_port_.end()) {
    fault("a connection from nobody");
    return 0;
  }
  const stack::Owner owner = s.next_owner++;
  auto app = std::make_unique<Application>(s.host, owner, connections_[it->second].server_plan, rng_.next());
  app->attach(child);
  app->expect_accept();
  s.applications[owner] = std::move(app);
  s.children[child] = owner;
  return owner;
}

// Programs accept late now and then.
void Simulation::accept_some(int side) {
  Side& s = sides_[side];
  if (!s.acceptable || rng_.below(3) == 0) return;
  for (;;) {
    const stack::CallResult r = s.stack->call(now_, call_of(stack::CallOp::accept, s.listener));
    if (r.error == Errc::again) break;
    if (r.error != Errc::ok) return fault("accept failed");
    auto it = s.children.find(r.socket);
    if (it == s.children.end()) return fault("accept returned an unknown child");
    s.applications[it->second]->accepted();
    s.children.erase(it);
  }
  s.acceptable = false;
}

bool Simulation::busy() const {
  for (const Side& s : sides_) {
    if (s.acceptable) return true;
    for (const auto& [owner, app] : s.applications)
      if (!app->over() || !app->done()) return true;
  }
  return outcome_.connections < connections_.size();
}

// Handles the earliest thing that happens; false: nothing ever will.
bool Simulation::step_once() {
  Instant at = events_.empty() ? Instant::never() : events_.top().at;
  int side = -1;
  Application* app = nullptr;
  enum { event, timer, program, acceptor } what = event;
  for (int i = 0; i < kSides; ++i) {
    if (sides_[i].stack->next_deadline() < at) at = sides_[i].stack->next_deadline(), what = timer, side = i;
    for (auto& [owner, a] : sides_[i].applications)
      if (a->ready() && a->wake_at() < at) at = a->wake_at(), what = program, side = i, app = a.get();
    if (sides_[i].acceptable && now_ + Duration::us(50) < at) at = now_ + Duration::us(50), what = acceptor, side = i;
  }
  if (at.is_never()) return false;
  if (at > now_) now_ = at;
  ++outcome_.events;
  switch (what) {
    case timer: sides_[side].stack->on_timer(now_); break;
    case program: app->step(*sides_[side].stack, now_); break;
    case acceptor: accept_some(side); break;
    case event: {
      const Event e = events_.top();
      events_.pop();
      if (e.kind == Event::connect) connect(e.index);
      if (e.kind == Event::datagram) send_datagram(e.side);
      if (e.kind == Event::frame) {
        const Arrival a = std::move(frames_[e.index]);
        frames_.erase(e.index);
        sides_[e.side].stack->on_frame(now_, 0, {a.bytes, a.offload});
      }
    }
  }
  if (outcome_.events == options_.rebuild_at) rebuild(static_cast<int>(options_.seed % kSides));
  return true;
}

void Simulation::rebuild(int side) {
  struct Sink final : stack::Stack::RecordSink {
    std::vector<std::vector<std::byte>> records;
    void on_record(ByteSpan r) override { records.emplace_back(r.begin(), r.end()); }
  } sink;
  Side& s = sides_[side];
  if (options_.trace) std::fprintf(stderr, "%.6f side %d is rebuilt\n", double(now_.ns()) / 1e9, side);
  if (auto saved = s.stack->for_each_record(sink); !saved) fault(std::string("saving: ") + errc_name(saved.error()));
  s.stack.reset();
  create_stack(side);
  for (const auto& record : sink.records)
    if (const Errc e = s.stack->restore(now_, record).error; e != Errc::ok) fault(std::string("restoring: ") + errc_name(e));
  outcome_.rebuilt = true;
}

uint64_t Simulation::counter(int side, const char* name) const {
  struct Visitor final : stack::CounterVisitor {
    const char* wanted;
    uint64_t value = 0;
    void on_counter(const char* n, uint64_t v) override {
      if (std::strcmp(n, wanted) == 0) value = v;
    }
  } visitor;
  visitor.wanted = name;
  sides_[side].stack->for_each_counter(visitor);
  return visitor.value;
}

Outcome Simulation::run() {
  for (int i = 0; i < kSides; ++i) {
    create_stack(i);
    if (!outcome_.faults.empty()) return outcome_;
    listen(i);
  }
  const Instant start = now_;
  while (busy() && outcome_.faults.empty()) {
    if (!step_once()) {
      fault("nothing will ever happen again");
      break;
    }
    if (now_ - start > kPatience) fault("stuck: two hours of virtual time have passed");
    for (Side& s : sides_)
      for (const auto& [owner, app] : s.applications)
        if (!app->complaint().empty()) fault(app->complaint());
  }
  outcome_.lasted = now_ - start;
  finish();
  return outcome_;
}

void Simulation::check_replay(int side) {
  auto report = stack::replay(sides_[side].recording.bytes);
  if (!report) return fault(std::string("replay: ") + errc_name(report.error()));
  if (!report->identical)
    fault("replay of side " + std::to_string(side) + " differs at entry " + std::to_string(report->differs_at) + ": recorded " +
          std::to_string(int(report->recorded)) + ", replayed " + std::to_string(int(report->replayed)));
  if (report->truncated) fault("replay found the recording truncated");
}

// Everything must come to rest: no sockets, no memory.
void Simulation::finish() {
  for (int i = 0; i < kSides; ++i) {
    Side& s = sides_[i];
    if (outcome_.faults.empty()) {
      s.stack->call(now_, call_of(stack::CallOp::close, s.listener));
      s.stack->call(now_, call_of(stack::CallOp::close, s.udp));
    }
  }
  const Instant end = now_ + Duration::seconds(400);
  while (outcome_.faults.empty() && now_ < end && (counter(0, "tcp_time_waits") > 0 || counter(1, "tcp_time_waits") > 0 || !events_.empty()))
    if (!step_once()) break;
  for (int i = 0; i < kSides; ++i) {
    Side& s = sides_[i];
    if (options_.replay) check_replay(i);
    for (const std::string& f : s.host.faults()) fault("host " + std::to_string(i) + ": " + f);
    if (!outcome_.faults.empty()) {
      for (const auto& [owner, app] : s.applications) {
        auto info = s.stack->socket_info(app->id(), now_);
        outcome_.faults.push_back("  side " + std::to_string(i) + " " + app->state() + ", state " +
                                  (info ? std::to_string(info->tcp_state) : "none") + ", space " +
                                  std::to_string(s.stack->send_space(app->id())));
      }
      continue;
    }
    if (const uint64_t n = counter(i, "sockets"); n > 0) fault("sockets left: " + std::to_string(n));
    if (const uint64_t n = counter(i, "tcp_time_waits"); n > 0) fault("TIME_WAITs left: " + std::to_string(n));
    if (s.host.undelivered() > 0) fault("placed input left: " + std::to_string(s.host.undelivered()));
    if (s.host.total_outstanding() > 0) fault("output not completed: " + std::to_string(s.host.total_outstanding()));
  }
}

}  // namespace ferry::sim

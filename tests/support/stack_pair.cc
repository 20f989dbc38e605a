// See stack_pair.h.
#include "support/stack_pair.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace ferry::support {
namespace {

ByteSpan bytes_of(const std::string& s) { return std::as_bytes(std::span(s)); }

stack::Call make_call(stack::CallOp op, stack::SocketId socket) {
  stack::Call c;
  c.op = op;
  c.socket = socket;
  return c;
}

void require(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "StackPair: %s\n", what);
  std::abort();
}

}  // namespace

StackPair::StackPair() : StackPair(Setup{}) {}

StackPair::StackPair(const Setup& setup) : setup_(setup) {
  for (int i = 0; i < 2; ++i) {
    hosts_[i].transmit_hook = [this, i](stack::LinkIndex, const std::vector<std::byte>& frame, const buf::Offload& offload) {
      std::vector<std::byte> bytes = frame;
      sent[i].push_back(bytes);
      if (!filter || filter(i, bytes)) wire_.push_back({now_ + Duration::us(10), 1 - i, bytes, offload});
      return Status();
    };
    hosts_[i].events_hook = [this, i](stack::Owner owner, uint32_t events) { events_[i][owner] |= events; };
    hosts_[i].incoming_hook = [this, i](stack::Owner, stack::SocketId child, const wire::Endpoint&, const wire::Endpoint&) {
      if (refuse_incoming) return stack::Owner{0};
      owners_[i][child] = next_owner_;
      return next_owner_++;
    };
    hosts_[i].acceptable_hook = [this, i](stack::Owner) { ++acceptables_[i]; };
    hosts_[i].datagram_hook = [this, i](stack::Owner owner, const stack::DatagramInfo& info, ByteSpan payload) {
      datagrams[i].push_back({owner, info, std::string(reinterpret_cast<const char*>(payload.data()), payload.size())});
      return Status();
    };
    hosts_[i].icmp_hook = [this, i](stack::Owner owner, const stack::IcmpError& e) { icmp_errors[i].push_back({owner, e}); };
    create(i);
  }
}

StackPair::~StackPair() {
  for (stack::Stack* s : stacks_) ferry::destroy(s);
}

void StackPair::create(int side) {
  setup_.config.seed = static_cast<uint64_t>(side) + 1;
  setup_.config.own_tcp = setup_.own_tcp[side];
  setup_.config.share = setup_.share[side];
  auto made = stack::Stack::create(setup_.config, hosts_[side]);
  require(made.ok(), "Stack::create");
  stacks_[side] = *made;
  stack::InterfaceConfig interface;
  interface.mac = {{2, 0, 0, 0, 0, static_cast<uint8_t>(1 + side)}};
  interface.prefix = {at(side, 0).address.v4(), 24};
  interface.max_gso = setup_.max_gso;
  interface.checksum_tx = setup_.checksum_tx;
  require(stacks_[side]->add_interface(now_, interface).ok(), "add_interface");
  stack::InterfaceConfig local;
  local.prefix = {wire::Ipv4Address::of(127, 0, 0, 1), 8};
  local.mtu = 65535;
  local.checksum_tx = true;
  local.loopback = true;
  require(stacks_[side]->add_interface(now_, local).ok(), "add_interface of loopback");
}

void StackPair::rebuild(int side) {
  struct Sink final : stack::Stack::RecordSink {
    std::vector<std::vector<std::byte>> records;
    void on_record(ByteSpan r) override { records.emplace_back(r.begin(), r.end()); }
  } sink;
  require(stacks_[side]->for_each_record(sink).ok(), "for_each_record");
  ferry::destroy(stacks_[side]);
  create(side);
  for (const auto& r : sink.records) require(stacks_[side]->restore(now_, r).error == Errc::ok, "restore");
}

stack::CallResult StackPair::call(int side, const stack::Call& c) { return stacks_[side]->call(now_, c); }

stack::SocketId StackPair::open(int side, stack::SocketType type, uint32_t uid) {
  stack::Call c = make_call(stack::CallOp::open, 0);
  c.type = type;
  c.owner = next_owner_;
  c.number = uid;
  const stack::CallResult r = call(side, c);
  if (r.error != Errc::ok) return 0;
  owners_[side][r.socket] = next_owner_++;
  return r.socket;
}

Errc StackPair::bind(int side, stack::SocketId socket, const wire::Endpoint& local) {
  stack::Call c = make_call(stack::CallOp::bind, socket);
  c.local = local;
  return call(side, c).error;
}

Errc StackPair::listen(int side, stack::SocketId socket, int64_t backlog) {
  stack::Call c = make_call(stack::CallOp::listen, socket);
  c.number = backlog;
  return call(side, c).error;
}

Errc StackPair::connect(int side, stack::SocketId socket, const wire::Endpoint& remote) {
  stack::Call c = make_call(stack::CallOp::connect, socket);
  c.remote = remote;
  return call(side, c).error;
}

stack::CallResult StackPair::accept(int side, stack::SocketId listener) {
  return call(side, make_call(stack::CallOp::accept, listener));
}

Errc StackPair::send(int side, stack::SocketId socket, const std::string& text, uint32_t flags) {
  const stack::Owner owner = owner_of(side, socket);
  stack::Call c = make_call(stack::CallOp::send, socket);
  c.flags = flags;
  c.data = hosts_[side].provide(owner, bytes_of(text));
  const Errc e = call(side, c).error;
  if (e != Errc::ok) hosts_[side].withdraw(owner);
  return e;
}

Errc StackPair::send_to(int side, stack::SocketId socket, const std::string& text, const wire::Endpoint& remote,
                        const wire::Endpoint& local) {
  const stack::Owner owner = owner_of(side, socket);
  stack::Call c = make_call(stack::CallOp::send_datagram, socket);
  c.info.remote = remote;
  c.info.local = local;
  c.data = hosts_[side].provide(owner, bytes_of(text));
  const Errc e = call(side, c).error;
  hosts_[side].withdraw(owner);
  return e;
}

std::string StackPair::receive(int side, stack::SocketId socket) {
  const std::vector<std::byte> bytes = hosts_[side].take(owner_of(side, socket), SIZE_MAX);
  stack::Call c = make_call(stack::CallOp::consumed, socket);
  c.number = static_cast<int64_t>(bytes.size());
  call(side, c);
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Errc StackPair::set(int side, stack::SocketId socket, stack::Option option, int64_t value) {
  stack::Call c = make_call(stack::CallOp::set_option, socket);
  c.option = option;
  c.number = value;
  return call(side, c).error;
}

Errc StackPair::shutdown(int side, stack::SocketId socket, int how) {
  stack::Call c = make_call(stack::CallOp::shutdown, socket);
  c.number = how;
  return call(side, c).error;
}

Errc StackPair::close(int side, stack::SocketId socket) { return call(side, make_call(stack::CallOp::close, socket)).error; }
Errc StackPair::abort(int side, stack::SocketId socket) { return call(side, make_call(stack::CallOp::abort, socket)).error; }

stack::SocketId StackPair::listener(int side, uint16_t port, int64_t backlog) {
  const stack::SocketId s = open(side);
  require(bind(side, s, any(port)) == Errc::ok, "bind of a listener");
  require(listen(side, s, backlog) == Errc::ok, "listen");
  return s;
}

stack::SocketId StackPair::queued(int client_side, uint16_t port) {
  const stack::SocketId client = open(client_side);
  require(connect(client_side, client, at(1 - client_side, port)) == Errc::in_progress, "connect");
  run();
  return client;
}

StackPair::Connected StackPair::connected(int client_side, stack::SocketId server_listener, uint16_t port) {
  Connected c;
  c.client = queued(client_side, port);
  const stack::CallResult r = accept(1 - client_side, server_listener);
  require(r.error == Errc::ok, "accept");
  c.server = r.socket;
  return c;
}

void StackPair::run(Duration d) {
  const Instant end = now_ + d;
  for (;;) {
    Instant at = wire_.empty() ? Instant::never() : wire_.front().at;
    int timer = -1;
    for (int i = 0; i < 2; ++i)
      if (stacks_[i]->next_deadline() < at) at = stacks_[i]->next_deadline(), timer = i;
    if (at > end) break;
    if (at > now_) now_ = at;
    if (timer >= 0) {
      stacks_[timer]->on_timer(now_);
      continue;
    }
    const Frame f = std::move(wire_.front());
    wire_.pop_front();
    deliver(f);
  }
  now_ = end;
}

void StackPair::deliver(const Frame& f) {
  buf::Frame whole{f.bytes, f.offload};
  if (detach) {
    const buf::Frame head{ByteSpan(f.bytes).first(std::min<size_t>(f.bytes.size(), 128)), f.offload};
    auto owner = stacks_[f.to]->payload_owner(0, head, static_cast<uint32_t>(f.bytes.size()));
    if (owner && owner->header_length < f.bytes.size()) {
      ++detached_frames;
      const std::vector<std::byte> payload(f.bytes.begin() + owner->header_length, f.bytes.end());
      stacks_[f.to]->on_frame(now_, 0, {ByteSpan(f.bytes).first(owner->header_length), f.offload, payload});
      return;
    }
  }
  stacks_[f.to]->on_frame(now_, 0, whole);
}

stack::Owner StackPair::owner_of(int side, stack::SocketId socket) const {
  const auto it = owners_[side].find(socket);
  return it == owners_[side].end() ? 0 : it->second;
}

uint32_t StackPair::events(int side, stack::Owner owner) const {
  const auto it = events_[side].find(owner);
  return it == events_[side].end() ? 0 : it->second;
}

stack::SocketInfo StackPair::info(int side, stack::SocketId socket) {
  auto i = stacks_[side]->socket_info(socket, now_);
  return i ? *i : stack::SocketInfo{};
}

uint64_t StackPair::counter(int side, const char* name) {
  struct Visitor final : stack::CounterVisitor {
    const char* wanted = nullptr;
    uint64_t value = UINT64_MAX;
    void on_counter(const char* n, uint64_t v) override {
      if (std::strcmp(n, wanted) == 0) value = v;
    }
  } visitor;
  visitor.wanted = name;
  stacks_[side]->for_each_counter(visitor);
  return visitor.value;
}

}  // namespace ferry::support

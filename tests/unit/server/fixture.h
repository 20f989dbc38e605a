// A server without a stack, links or an event loop: real channels, sockets, pairs and control connections around scripted protocols.
// Tests play the client (they write the shared memory and the control socket as they like) and the stack (they call the
// functions of Host on sockets).
#pragma once

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "server/client.h"
#include "server/peers.h"
#include "server/sockets.h"
#include "stack/protocol_server.h"

namespace ferry::server {

namespace abi = ipc::abi;

class FakeProtocols final : public Protocols {
 public:
  stack::CallResult call(const stack::Call& c) override {
    calls.push_back(c);
    if (c.op == stack::CallOp::send_message && send_error != Errc::ok) return stack::failure(send_error);
    if (c.message != nullptr) messages.push_back(*c.message);
    if (memory != nullptr && !c.data.empty()) {
      ByteSpan bytes = memory->read(c.data);
      sent.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    stack::CallResult result;
    if (c.op == stack::CallOp::open) result.socket = next_id++;
    if (c.op == stack::CallOp::connect) result.error = connect_error;
    if (c.op == stack::CallOp::set_option) result.error = option_error;
    if (c.op == stack::CallOp::accept) {
      if (waiting.empty()) return stack::failure(Errc::again);
      result.socket = waiting.front();
      waiting.erase(waiting.begin());
    }
    if (within) within(c);
    if (c.op == stack::CallOp::send) {
      if (send_error != Errc::ok) result.error = send_error;
      else space = c.data.length >= space ? 0 : space - c.data.length;
    }
    return result;
  }
  uint32_t send_space(stack::SocketId) const override { return space; }
  Result<stack::SocketInfo> info(stack::SocketId id) const override {
    if (id == 0) return Errc::bad_socket;
    return socket_info;
  }
  Result<int64_t> option(stack::SocketId, stack::Option) const override { return option_value; }
  Result<size_t> protocol_option(stack::SocketId, int, MutableByteSpan, size_t) const override { return Errc::no_protocol_option; }
  const stack::Service* service(stack::SocketType type) const override {
    static constexpr stack::Service kServices[] = {{stack::SocketType::tcp, stack::Style::stream, 6, "tcp"},
                                                   {stack::SocketType::udp, stack::Style::datagram, 17, "udp"},
                                                   {stack::SocketType::icmp_echo, stack::Style::datagram, 1, "icmp"},
                                                   {stack::SocketType::sctp, stack::Style::message, 132, "sctp"},
                                                   {stack::SocketType::sctp_many, stack::Style::message, 0, "sctp, one-to-many", true}};
    for (const stack::Service& s : kServices)
      if (s.type == type) return &s;
    return nullptr;
  }
  Result<tcp::TcpInfo> tcp_info(stack::SocketId) const override { return Errc::not_supported; }
  Result<stack::Owner> twin(stack::SocketId id) const override {
    auto it = twins.find(id);
    if (it == twins.end()) return Errc::not_supported;
    return it->second;
  }

  size_t count(stack::CallOp op) const {
    size_t n = 0;
    for (const stack::Call& c : calls) n += c.op == op;
    return n;
  }
  int64_t consumed() const {
    int64_t n = 0;
    for (const stack::Call& c : calls)
      if (c.op == stack::CallOp::consumed) n += c.number;
    return n;
  }

  std::function<void(const stack::Call&)> within;  // what happens during a call, as when the peer is served by the same stack
  std::vector<stack::SocketId> waiting;            // connections, for accept
  std::vector<stack::Call> calls;
  std::vector<stack::MessageInfo> messages;
  std::string sent;  // payload of all calls with data
  const buf::Memory* memory = nullptr;
  uint32_t space = 1 << 20;
  Errc send_error = Errc::ok;
  Errc connect_error = Errc::ok;
  Errc option_error = Errc::ok;
  stack::SocketInfo socket_info;
  std::map<stack::SocketId, stack::Owner> twins;  // connections with one another
  int64_t option_value = 0;
  stack::SocketId next_id = 100;
};

class FakeHandler final : public RequestHandler {
 public:
  bool handle(Client&, const ipc::control::Request& request, ipc::DescriptorList&, ipc::control::Reply& reply,
              ipc::DescriptorList&) override {
    requests.push_back(request);
    reply.value = 7;
    return !defer;
  }
  void forget(Client&) override { ++forgotten; }
  void adopt_orphan(std::unique_ptr<Channel> channel) override { orphans.push_back(std::move(channel)); }
  std::vector<ipc::control::Request> requests;
  std::vector<std::unique_ptr<Channel>> orphans;
  int forgotten = 0;
  bool defer = false;
};

class ServerTest : public testing::Test {
 protected:
  // `engines`: this is the first one of them.
  explicit ServerTest(Engines* engines = nullptr)
      : memory(1 << 20), ctx(protocols, memory, poller, holder, counters, {}, 0, engines), peers(ctx), sockets(ctx) {
    protocols.memory = &memory;
    ctx.now = Instant::from_ns(1'000'000'000'000);
    ctx.limits.sockets = 64;
  }
  ~ServerTest() override {
    for (auto& c : clients)
      if (!c->gone()) c->drop("");
  }

  // A client with a channel, of a user; our end of its control connection is in `connections`.
  Client& connect_client(uint64_t pool_bytes = 1 << 20, uid_t uid = getuid()) {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    int on = 1;
    setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    connections.emplace_back(ends[1]);
    clients.push_back(std::make_unique<Client>(ctx, handler, UniqueFd(ends[0])));
    ipc::ChannelConfig config;
    config.max_sockets = ctx.limits.sockets;
    config.output_size = config.input_size = pool_bytes;
    auto channel = ChannelMemory::create(config, {clients.back()->credentials().pid, uid});
    EXPECT_TRUE(channel.ok());
    EXPECT_TRUE(clients.back()->open_channel(*channel, UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))).ok());
    return *clients.back();
  }

  // A connected TCP socket (or another kind) at home in the client's channel. K is in `ks`.
  Socket& open(Client& client, stack::SocketType type = stack::SocketType::tcp) {
    Socket& s = sockets.create(type);
    s.set_id(protocols.next_id++);
    ks.push_back(s.make_pair());
    EXPECT_TRUE(ks.back());
    s.attach(*client.channel());
    if (s.connects()) s.on_events(static_cast<uint32_t>(tcp::Event::established));
    run();
    return s;
  }
  abi::SocketShared& shared(Client& client, Socket& s) { return client.channel()->shared(s.slot_in(*client.channel())); }

  // One turn of the engine.
  void run() {
    poller.wait(Duration::zero());
    while (Socket* s = ctx.run.pop_front()) s->run();
    while (Socket* s = ctx.run_next.pop_front()) ctx.run.push_back(*s);
    for (Channel* c : ctx.reclaimed) c->reclaimed_this_turn = false;
    ctx.reclaimed.clear();
    sockets.reap();
  }
  void ring(Socket& s) {
    s.on_doorbell();
    run();
  }

  // --- the client's part ---
  // Sends a request so that the client waits for a deferred answer.
  void ask(size_t i) {
    handler.defer = true;
    ipc::control::Request request;
    request.op = static_cast<uint32_t>(ipc::control::Op::rehome);
    ASSERT_EQ(ipc::send_request(connections[i].get(), request), 0);
    poller.wait(Duration::zero());
  }
  uint64_t put_bytes(Client& client, std::string_view text) {
    uint64_t at = client.channel()->output_area().offset + output_used_;
    std::memcpy(const_cast<std::byte*>(client.channel()->at(at)), text.data(), text.size());
    output_used_ += text.size();
    return at;
  }
  void push(abi::SocketShared& s, const abi::Descriptor& d) {
    s.tx[s.tx_produced % abi::kRingEntries] = d;
    store_release(s.tx_produced, s.tx_produced + 1);
  }
  void write(Client& client, Socket& socket, std::string_view text, uint16_t flags = 0) {
    push(shared(client, socket), {put_bytes(client, text), static_cast<uint32_t>(text.size()), 0, flags});
  }
  // What is in the input ring and not consumed, consuming it.
  std::string read(Client& client, Socket& socket) {
    abi::SocketShared& s = shared(client, socket);
    std::string text;
    while (s.rx_consumed != s.rx_produced) {
      const abi::Descriptor& d = s.rx[s.rx_consumed % abi::kRingEntries];
      text.append(reinterpret_cast<const char*>(client.channel()->at(d.offset)), d.length);
      s.rx_consumed_bytes += d.length;
      ++s.rx_consumed;
    }
    return text;
  }
  // --- the stack's part ---
  bool receive(Socket& s, std::string_view text) {
    auto d = s.place(ByteSpan(reinterpret_cast<const std::byte*>(text.data()), text.size()));
    if (!d) return false;
    s.deliver(*d);
    return true;
  }

  FakeProtocols protocols;
  Memory memory;
  Poller poller;
  LocalHolder holder;
  Counters counters;
  Context ctx;
  Peers peers;
  Sockets sockets;
  FakeHandler handler;
  std::vector<UniqueFd> connections, ks;
  std::vector<std::unique_ptr<Client>> clients;
  size_t output_used_ = 0;
};

}  // namespace ferry::server

// Control requests: authority, lookups, quotas.
#include "server/control.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "fixture.h"

namespace ferry::server {
namespace {

namespace control = ipc::control;
using control::Op;

class FakeAdmin final : public AdminHandler {
 public:
  bool handle_admin(Client&, const std::string& command, control::Reply&, ipc::DescriptorList&) override {
    commands.push_back(command);
    return true;
  }
  void forget_admin(Client&) override {}
  std::vector<std::string> commands;
};

class ControlTest : public ServerTest {
 protected:
  ControlTest() : control(ctx, sockets, identity(), admin) {}

  static ServerIdentity identity() {
    ServerIdentity id;
    id.info.instance = 99;
    id.interfaces.resize(1);
    id.interfaces[0].mtu = 1500;
    return id;
  }
  // The client's view of a request. Credentials are this process's.
  control::Reply ask(Client& client, control::Request request, int fd = -1) {
    control::Reply reply;
    ipc::DescriptorList in;
    if (fd >= 0) in.add(ipc::OwnedFd(dup(fd)));
    received.clear();
    EXPECT_TRUE(control.handle(client, request, in, reply, received));
    return reply;
  }
  control::Request request(Op op, uint32_t value = 0) {
    control::Request r;
    r.op = static_cast<uint32_t>(op);
    r.value = value;
    return r;
  }
  Errc error(const control::Reply& r) { return static_cast<Errc>(r.error); }
  // A connection that has said nothing.
  Client& connect() {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    connections.emplace_back(ends[1]);
    clients.push_back(std::make_unique<Client>(ctx, control, UniqueFd(ends[0])));
    return *clients.back();
  }
  // A client that has said hello.
  Client& greet() {
    Client& c = connect();
    EXPECT_EQ(error(ask(c, request(Op::hello, abi::kVersion))), Errc::ok);
    return c;
  }
  ~ControlTest() override {
    for (auto& c : clients)
      if (!c->gone()) c->drop("");
    control.reap();
  }

  FakeAdmin admin;
  Control control;
  ipc::DescriptorList received;
};

TEST_F(ControlTest, HelloGivesChannelKickAndLifeline) {
  Client& c = greet();
  EXPECT_EQ(received.count, 3u);
  EXPECT_NE(c.channel(), nullptr);
  auto map = ipc::ChannelMap::open(received.take(0));
  EXPECT_TRUE(map.ok());
}

TEST_F(ControlTest, NothingIsAnsweredBeforeHello) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
  connections.emplace_back(ends[1]);
  clients.push_back(std::make_unique<Client>(ctx, control, UniqueFd(ends[0])));
  for (Op op : {Op::open_socket, Op::interfaces, Op::admin, Op::attach})
    EXPECT_EQ(error(ask(*clients.back(), request(op, abi::kKindTcp))), Errc::protocol);
  EXPECT_EQ(error(ask(*clients.back(), request(Op::hello, abi::kVersion + 1))), Errc::version_mismatch);
  EXPECT_EQ(clients.back()->channel(), nullptr);
}

TEST_F(ControlTest, AnAdminHasNoChannel) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
  connections.emplace_back(ends[1]);
  clients.push_back(std::make_unique<Client>(ctx, control, UniqueFd(ends[0])));
  Client& c = *clients.back();
  control::Request hello = request(Op::hello, abi::kVersion);
  hello.flags = control::kHelloAdmin;
  EXPECT_EQ(error(ask(c, hello)), Errc::ok);
  EXPECT_EQ(received.count, 0u);
  EXPECT_EQ(error(ask(c, request(Op::open_socket, abi::kKindTcp))), Errc::invalid);
  control::Request question = request(Op::admin);
  question.data_length = 4;
  std::memcpy(question.data, "stat", 4);
  ask(c, question);
  EXPECT_EQ(admin.commands, std::vector<std::string>{"stat"});
}

TEST_F(ControlTest, AStockIsHandedOverInBatches) {
  Client& c = greet();
  control::Request r = request(Op::stock, abi::kKindTcp);
  r.level = 3;
  control::Reply reply = ask(c, r);
  EXPECT_EQ(error(reply), Errc::ok);
  ASSERT_EQ(reply.value, 3u);
  ASSERT_EQ(received.count, 3u);
  std::vector<UniqueFd> kept;
  for (uint32_t i = 0; i < 3; ++i) kept.emplace_back(received.take(i).release());
  uint32_t numbers[3];
  ASSERT_EQ(reply.data_length, sizeof numbers);
  std::memcpy(numbers, reply.data, sizeof numbers);
  EXPECT_NE(numbers[0], numbers[1]);
  reply = ask(c, request(Op::open_socket, abi::kKindTcp));
  EXPECT_EQ(error(reply), Errc::ok);
  EXPECT_EQ(received.count, 0u) << "the client has a K for it";
  EXPECT_LT(reply.value, 3u);
  r.level = 1'000'000;
  EXPECT_EQ(ask(c, r).value, control::kMaxDescriptors);
  r.level = -1;
  EXPECT_EQ(ask(c, r).value, 0u);
  EXPECT_EQ(error(ask(c, request(Op::stock, abi::kKindListener))), Errc::not_supported);
  EXPECT_EQ(error(ask(c, request(Op::stock, 12345))), Errc::not_supported);
}

TEST_F(ControlTest, OpenGivesASlotAndADescriptor) {
  Client& c = greet();
  control::Reply r = ask(c, request(Op::open_socket, abi::kKindTcp));
  ASSERT_EQ(error(r), Errc::ok);
  EXPECT_EQ(received.count, 1u);
  EXPECT_EQ(c.channel()->shared(r.slot).kind, uint32_t{abi::kKindTcp});
  EXPECT_EQ(c.channel()->shared(r.slot).generation, r.generation);
  EXPECT_EQ(error(ask(c, request(Op::open_socket, 99))), Errc::not_supported);
}

TEST_F(ControlTest, AStaleGenerationIsNoSocket) {
  Client& c = greet();
  control::Reply r = ask(c, request(Op::open_socket, abi::kKindTcp));
  control::Request bind = request(Op::bind);
  bind.slot = r.slot;
  bind.generation = r.generation + 1;
  EXPECT_EQ(error(ask(c, bind)), Errc::bad_socket);
  bind.slot = 5000;
  EXPECT_EQ(error(ask(c, bind)), Errc::bad_socket);
  bind.slot = UINT32_MAX;
  EXPECT_EQ(error(ask(c, bind)), Errc::bad_socket);
  EXPECT_EQ(protocols.count(stack::CallOp::bind), 0u);
}

TEST_F(ControlTest, AnotherClientsSlotIsNoSocket) {
  Client& first = greet();
  control::Reply r = ask(first, request(Op::open_socket, abi::kKindTcp));
  Client& second = greet();
  control::Request bind = request(Op::bind);
  bind.slot = r.slot;
  bind.generation = r.generation;
  EXPECT_EQ(error(ask(second, bind)), Errc::bad_socket);
}

TEST_F(ControlTest, AttachingNeedsTheDescriptorItself) {
  Client& first = greet();
  control::Reply opened = ask(first, request(Op::open_socket, abi::kKindTcp));
  ASSERT_EQ(received.count, 1u);
  ipc::OwnedFd k = received.take(0);
  Client& second = greet();
  control::Reply r = ask(second, request(Op::attach), k.get());
  ASSERT_EQ(error(r), Errc::ok);
  EXPECT_EQ(second.channel()->shared(r.slot).mode, uint32_t{abi::kModeMoved});
  EXPECT_EQ(error(ask(second, request(Op::attach))), Errc::invalid);
  int foreign[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, foreign), 0);
  EXPECT_EQ(error(ask(second, request(Op::attach), foreign[0])), Errc::bad_socket);
  close(foreign[0]), close(foreign[1]);
  EXPECT_EQ(error(ask(second, request(Op::attach), STDERR_FILENO)), Errc::bad_socket);
  (void)opened;
}

TEST_F(ControlTest, SocketsAreBoundedByTheQuota) {
  ctx.limits.sockets = 3;
  Client& c = greet();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(error(ask(c, request(Op::open_socket, abi::kKindUdp))), Errc::ok);
  EXPECT_EQ(error(ask(c, request(Op::open_socket, abi::kKindUdp))), Errc::too_many);
}

TEST_F(ControlTest, ClientsOfOneUserAreBounded) {
  ctx.limits.clients_per_uid = 1;
  greet();
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
  connections.emplace_back(ends[1]);
  clients.push_back(std::make_unique<Client>(ctx, control, UniqueFd(ends[0])));
  EXPECT_EQ(error(ask(*clients.back(), request(Op::hello, abi::kVersion))), Errc::too_many);
  EXPECT_EQ(counters.clients_refused, 1u);
  clients.front()->drop("");
  control.reap();
  EXPECT_EQ(error(ask(*clients.back(), request(Op::hello, abi::kVersion))), Errc::ok);
}

TEST_F(ControlTest, EventQueuesAreBoundedAndTheServersOwn) {
  Client& c = greet();
  control::Request open = request(Op::event_queue, 3);
  open.flags = control::kQueueOpen;
  ASSERT_EQ(error(ask(c, open)), Errc::ok);
  ASSERT_EQ(received.count, 1u);
  EXPECT_EQ(::write(received.fds[0].get(), "x", 1), -1) << "the client holds the read end only";
  open.value = abi::kMaxQueues;
  EXPECT_EQ(error(ask(c, open)), Errc::invalid);
  open.flags = 77;
  EXPECT_EQ(error(ask(c, open)), Errc::invalid);
}

TEST_F(ControlTest, AListenerGivesItsChildrenOut) {
  Client& c = greet();
  control::Reply opened = ask(c, request(Op::open_socket, abi::kKindTcp));
  control::Request accept = request(Op::accept);
  accept.slot = opened.slot;
  accept.generation = opened.generation;
  EXPECT_EQ(error(ask(c, accept)), Errc::invalid) << "not listening";
  control::Request listen = accept;
  listen.op = static_cast<uint32_t>(Op::listen);
  EXPECT_EQ(error(ask(c, listen)), Errc::ok);
  Socket& child = sockets.create(stack::SocketType::tcp);
  child.set_id(0x77);
  child.set_pending();
  sockets.add_child(child, child.id());
  protocols.waiting.push_back(child.id());
  control::Reply r = ask(c, accept);
  ASSERT_EQ(error(r), Errc::ok);
  EXPECT_EQ(received.count, 1u);
  EXPECT_NE(r.slot, opened.slot);
  EXPECT_TRUE(c.channel()->shared(r.slot).ready & abi::kConnected || child.connected());
}

TEST_F(ControlTest, ARegionComesAsAMemfdAndGoesByItsNumber) {
  Client& c = greet();
  ipc::OwnedFd fd(memfd_create("test-region", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(fd.get(), abi::kHugePageSize), 0);
  EXPECT_EQ(error(ask(c, request(Op::region, 1), fd.get())), Errc::invalid);  // not sealed
  ASSERT_EQ(fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
  EXPECT_EQ(error(ask(c, request(Op::region, 1), fd.get())), Errc::ok);
  EXPECT_EQ(c.channel()->region_bytes(), abi::kHugePageSize);
  EXPECT_EQ(error(ask(c, request(Op::region, 2))), Errc::invalid);
  EXPECT_EQ(error(ask(c, request(Op::region, 1))), Errc::ok);
  EXPECT_EQ(c.channel()->region_bytes(), 0u);
  ctx.limits.region_bytes = 0;
  EXPECT_EQ(error(ask(c, request(Op::region, 1), fd.get())), Errc::invalid);
}

TEST_F(ControlTest, InterfacesEndWithInvalid) {
  Client& c = greet();
  control::Reply r = ask(c, request(Op::interfaces, 0));
  EXPECT_EQ(error(r), Errc::ok);
  EXPECT_EQ(r.data_length, sizeof(control::InterfaceInfo));
  EXPECT_EQ(error(ask(c, request(Op::interfaces, 1))), Errc::invalid);
}

TEST_F(ControlTest, UnknownRequestsAreNotSupported) {
  Client& c = greet();
  control::Reply opened = ask(c, request(Op::open_socket, abi::kKindTcp));
  control::Request odd = request(static_cast<Op>(77));
  odd.slot = opened.slot;
  odd.generation = opened.generation;
  EXPECT_EQ(error(ask(c, odd)), Errc::not_supported);
}

TEST_F(ControlTest, ConnectionsThatDoNotSayHelloTakeNobodysPlace) {
  ctx.limits.clients = 2;
  for (int i = 0; i < 5; ++i) connect();
  greet();
  greet();
  EXPECT_EQ(error(ask(connect(), request(Op::hello, abi::kVersion))), Errc::too_many);
}

TEST_F(ControlTest, WhatADeadClientLeavesBehindCountsUntilItIsGone) {
  ctx.limits.clients_per_uid = 1;
  Client& c = greet();
  Channel& channel = *c.channel();
  channel.add_output_reference(1);
  c.drop("");
  control.reap();
  ASSERT_EQ(control.orphan_count(), 1u);
  Client& next = connect();
  EXPECT_EQ(error(ask(next, request(Op::hello, abi::kVersion))), Errc::too_many);
  channel.drop_output_reference(1);
  control.reap();
  EXPECT_EQ(error(ask(next, request(Op::hello, abi::kVersion))), Errc::ok);
}

TEST_F(ControlTest, WhoTakesThePlaceOfADeadClientNeedNotWait) {
  ctx.limits.clients_per_uid = 1;
  greet().drop("");
  EXPECT_EQ(error(ask(connect(), request(Op::hello, abi::kVersion))), Errc::ok);
}

TEST_F(ControlTest, ADeadClientKeepsNeitherQueuesNorRegions) {
  Client& c = greet();
  control::Request open = request(Op::event_queue, 3);
  open.flags = control::kQueueOpen;
  ASSERT_EQ(error(ask(c, open)), Errc::ok);
  ipc::OwnedFd queue = received.take(0);
  ipc::OwnedFd fd(memfd_create("test-region", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(fd.get(), abi::kHugePageSize), 0);
  ASSERT_EQ(fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
  ASSERT_EQ(error(ask(c, request(Op::region, 1), fd.get())), Errc::ok);
  Channel& channel = *c.channel();
  auto unread = channel.place(1);  // and another process has its K
  ASSERT_TRUE(unread.ok());
  c.drop("");
  control.reap();
  ASSERT_EQ(control.orphan_count(), 1u);
  EXPECT_EQ(channel.region_bytes(), 0u);
  pollfd p{queue.get(), 0, 0};
  EXPECT_EQ(poll(&p, 1, 0), 1);
  EXPECT_TRUE(p.revents & POLLHUP);
  channel.release(*unread);
}

}  // namespace
}  // namespace ferry::server

// What a client may do with a connection that it is offered and has not taken: nothing, or it would go on with it once another has it.
#include "fixture.h"
#include "server/control.h"

namespace ferry::server {
namespace {

namespace control = ipc::control;
using control::Op;

class NoAdmin final : public AdminHandler {
 public:
  bool handle_admin(Client&, const std::string&, control::Reply&, ipc::DescriptorList&) override { return true; }
  void forget_admin(Client&) override {}
};

class UnclaimedTest : public ServerTest {
 protected:
  // Two clients have the listener; the first is offered a connection, and does not take it.
  UnclaimedTest() : control(ctx, sockets, {}, admin), first(accepting_client()), second(accepting_client()), listener(open(first)) {
    listener.on_listening();
    listener.attach(*second.channel());
    for (Client* c : {&first, &second}) shared(*c, listener).watches[0] = 1;
    listener.offer_to(*first.channel());
    child = &sockets.create(stack::SocketType::tcp);
    child->set_id(protocols.next_id++);
    child->set_pending();
    sockets.add_child(*child, child->id());
    protocols.waiting.push_back(child->id());
    listener.on_acceptable();
    run();
    offer = shared(first, listener).rx[0];
    EXPECT_EQ(shared(first, listener).rx_produced, 1u);
  }
  Client& accepting_client() {
    Client& client = connect_client();
    client.set_greeted();
    uint32_t number;
    kept.emplace_back();
    EXPECT_TRUE(client.channel()->stock().make(true, kept.back(), number));
    return client;
  }
  // On the connection that was offered.
  Errc ask(Client& client, Op op, int fd = -1) {
    control::Request request;
    request.op = static_cast<uint32_t>(op);
    request.slot = child->slot_in(*first.channel());
    request.generation = first.channel()->generation(request.slot);
    control::Reply reply;
    ipc::DescriptorList in, out;
    if (fd >= 0) in.add(ipc::OwnedFd(dup(fd)));
    control.handle(client, request, in, reply, out);
    return static_cast<Errc>(reply.error);
  }
  void claim() { shared(first, listener).rx_consumed++; }
  // The second gets what the first has left lying.
  void pass_on() {
    ctx.now = listener.offer_deadline();
    listener.mark();
    run();
    auto next = listener.next_connection(*second.channel(), 0);
    ASSERT_TRUE(next.ok());
    ASSERT_EQ(*next, child);
    child->on_accepted();
    child->set_pair(second.channel()->stock().take(true));
    child->attach(*second.channel());
    run();
  }

  NoAdmin admin;
  Control control;
  std::vector<UniqueFd> kept;
  Client& first;
  Client& second;
  Socket& listener;
  Socket* child = nullptr;
  abi::Descriptor offer;
};

TEST_F(UnclaimedTest, NoRequestIsAnsweredOnIt) {
  for (Op op : {Op::disconnect, Op::listen, Op::accept, Op::bind, Op::shutdown, Op::set_option, Op::rehome, Op::demote})
    EXPECT_EQ(ask(first, op), Errc::bad_socket) << static_cast<int>(op);
  EXPECT_EQ(protocols.count(stack::CallOp::connect) + protocols.count(stack::CallOp::listen), 0u);
  EXPECT_FALSE(child->is_listener());
}

TEST_F(UnclaimedTest, WhoHasJustTakenItIsAnswered) {
  claim();
  EXPECT_EQ(ask(first, Op::shutdown), Errc::ok);
}

TEST_F(UnclaimedTest, NobodyAttachesToItByItsDescriptor) {
  EXPECT_EQ(ask(second, Op::attach, kept[0].get()), Errc::bad_socket);
  claim();
  EXPECT_EQ(ask(second, Op::attach, kept[0].get()), Errc::ok);
}

TEST_F(UnclaimedTest, BytesOnItsDescriptorDoNotMoveIt) {
  ASSERT_EQ(::write(kept[0].get(), "x", 1), 1);
  run();
  EXPECT_TRUE(ctx.moving.empty());
  pass_on();
  EXPECT_FALSE(child->kernel_mode());
  EXPECT_EQ(counters.demotions, 0u);
}

TEST_F(UnclaimedTest, WhatItHasBecomeDoesNotOutliveTheOffer) {
  child->on_listening();  // as no request can make it now
  child->offer_to(*first.channel());
  pass_on();
  kept.clear();
  first.drop("");
  run();
  handler.orphans.clear();
  child->mark();
  run();
  EXPECT_EQ(child->user(), second.channel());
}

TEST_F(UnclaimedTest, EndsWithItsDescriptorIfItWasTakenRightBefore) {
  claim();
  kept.clear();
  run();
  EXPECT_EQ(protocols.count(stack::CallOp::close), 1u);
}

TEST_F(UnclaimedTest, AListenerWhoseConnectionsWereTakenMayBeConnectedLater) {
  claim();
  ring(listener);
  listener.on_peer(false);
  ASSERT_TRUE(receive(listener, "from a later peer"));
  run();
  EXPECT_EQ(read(first, listener), "from a later peer");
  ring(listener);
  EXPECT_TRUE(ctx.condemned.empty());
}

}  // namespace
}  // namespace ferry::server

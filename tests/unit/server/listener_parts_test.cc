// A listener's part in another engine, and a channel's part there.
#include "server/listener_parts.h"

#include <signal.h>

#include <set>

#include "fixture.h"
#include "server/engine.h"

namespace ferry::server {
namespace {

class ListenerPartsTest : public ServerTest {
 protected:
  size_t calls_of(stack::CallOp op, std::function<bool(const stack::Call&)> which) {
    size_t n = 0;
    for (const stack::Call& c : protocols.calls) n += c.op == op && which(c);
    return n;
  }
  ListenerPart part() {
    ListenerPart p;
    p.cookie = 4711;
    p.local.port = 80;
    p.backlog = 5;
    p.uid = 7;
    return p;
  }
};

TEST_F(ListenerPartsTest, BindsAndListensAsItsListener) {
  protocols.option_value = 3;  // what a fresh socket has
  ListenerPart p = part();
  p.options = {{stack::Option::linger, 3}, {stack::Option::tos, 16}};
  ASSERT_EQ(open_part(ctx, p), Errc::ok);
  EXPECT_EQ(calls_of(stack::CallOp::bind, [](auto& c) { return c.local.port == 80; }), 1u);
  EXPECT_EQ(calls_of(stack::CallOp::listen, [](auto& c) { return c.number == 5; }), 1u);
  EXPECT_EQ(calls_of(stack::CallOp::set_option, [](auto& c) { return c.option == stack::Option::tos && c.number == 16; }), 1u);
  EXPECT_EQ(protocols.count(stack::CallOp::set_option), 1u) << "what it has already is not set";
  Socket* s = sockets.find_by_cookie(4711);
  ASSERT_NE(s, nullptr);
  EXPECT_TRUE(s->is_part());
  EXPECT_TRUE(s->is_listener());
}

TEST_F(ListenerPartsTest, AnotherListenGivesItAnotherBacklog) {
  ASSERT_EQ(open_part(ctx, part()), Errc::ok);
  ListenerPart again = part();
  again.backlog = 9;
  ASSERT_EQ(open_part(ctx, again), Errc::ok);
  EXPECT_EQ(protocols.count(stack::CallOp::bind), 1u);
  EXPECT_EQ(calls_of(stack::CallOp::listen, [](auto& c) { return c.number == 9; }), 1u);
}

TEST_F(ListenerPartsTest, IsAttachedByTheListenersDescriptorAndEndsAtOnce) {
  Client& client = connect_client();
  ASSERT_EQ(open_part(ctx, part()), Errc::ok);
  Socket* s = sockets.find_by_cookie(4711);
  const uint32_t slot = s->attach(*client.channel());
  ASSERT_NE(slot, Channel::kNoSlot);
  s->on_acceptable();
  protocols.socket_info.receive_queue = 1;
  run();
  EXPECT_EQ(client.channel()->shared(slot).kind, uint32_t{abi::kKindListener});
  client.drop("");
  run();
  EXPECT_NE(sockets.find_by_cookie(4711), nullptr) << "it is not its clients'";
  close_part(ctx, 4711);
  EXPECT_EQ(protocols.count(stack::CallOp::close), 1u);
  EXPECT_EQ(sockets.find_by_cookie(4711), nullptr);
  close_part(ctx, 4711);
}

TEST_F(ListenerPartsTest, OneThatCannotBeIsNotKept) {
  ctx.limits.sockets_per_uid = 0;
  EXPECT_EQ(open_part(ctx, part()), Errc::too_many);
  run();
  EXPECT_EQ(sockets.find_by_cookie(4711), nullptr);
}

// Two engines on one channel: each has slots, input memory and a doorbell of its own.
TEST(ChannelParts, AreDisjoint) {
  FakeProtocols protocols;
  struct Side {
    Memory memory{1 << 20};
    Poller poller;
    LocalHolder holder;
    Counters counters;
    Context ctx;
    Peers peers;
    Sockets sockets;
    std::unique_ptr<Channel> channel;
    Side(FakeProtocols& p, uint32_t n) : ctx(p, memory, poller, holder, counters, {}, n), peers(ctx), sockets(ctx) {}
  };
  ipc::ChannelConfig config;
  config.engines = 2;
  config.max_sockets = 8;
  config.output_size = config.input_size = 4 << 20;
  auto memory = ChannelMemory::create(config, {});
  ASSERT_TRUE(memory.ok());
  Side first(protocols, 0), second(protocols, 1);
  for (Side* side : {&first, &second}) {
    auto channel = Channel::create(side->ctx, *memory, UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)));
    ASSERT_TRUE(channel.ok());
    side->channel = std::move(*channel);
  }
  std::set<uint32_t> slots;
  for (Side* side : {&first, &second}) {
    for (int i = 0; i < 4; ++i) {
      Socket& s = side->sockets.create(stack::SocketType::tcp);
      const uint32_t slot = side->channel->assign(s);
      ASSERT_TRUE(slots.insert(slot).second);
      EXPECT_EQ(side->channel->shared(slot).engine, side == &second ? 1u : 0u);
      EXPECT_EQ(side->channel->socket_at(slot), &s);
    }
    Socket& more = side->sockets.create(stack::SocketType::tcp);
    EXPECT_EQ(side->channel->assign(more), Channel::kNoSlot);
  }
  EXPECT_EQ(slots.size(), 8u);
  EXPECT_EQ(first.channel->socket_at(4), nullptr) << "the other's";
  const auto a = first.channel->place(1000), b = second.channel->place(1000);
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_GE(b->offset - a->offset, uint64_t{2} << 20);
  EXPECT_FALSE(ipc::ring_doorbell((*memory)->map().header(), 1, 5));
  EXPECT_EQ(first.channel->take_doorbells([](uint32_t) {}), 0u);
  std::vector<uint32_t> rung;
  EXPECT_EQ(second.channel->take_doorbells([&](uint32_t slot) { rung.push_back(slot); }), 1u);
  EXPECT_EQ(rung, std::vector<uint32_t>{5});
  for (Side* side : {&first, &second}) {
    side->channel->release(side == &first ? *a : *b);
    for (uint32_t slot = 0; slot < 8; ++slot)
      if (side->channel->socket_at(slot) != nullptr) side->channel->unassign(slot);
  }
}

TEST(ChannelMemory, AQueueKeepsItsPipeAndItsReadersAreNew) {
  signal(SIGPIPE, SIG_IGN);  // as ferryd does
  auto memory = ChannelMemory::create({}, {});
  ASSERT_TRUE(memory.ok());
  ChannelMemory& m = **memory;
  EXPECT_EQ(m.queue_count(), 0u);
  m.wake_queue(3);  // nothing there
  UniqueFd first = m.open_queue(3);
  ASSERT_TRUE(first);
  EXPECT_EQ(m.queue_count(), 4u);
  first.reset();
  m.wake_queue(3);
  UniqueFd second = m.open_queue(3);
  ASSERT_TRUE(second);
  m.wake_queue(3);
  char bytes[8];
  EXPECT_GE(read(second.get(), bytes, sizeof bytes), 1);
  EXPECT_FALSE(m.open_queue(ipc::abi::kMaxQueues));
  EXPECT_TRUE(m.join(1));
  EXPECT_FALSE(m.join(1));
  m.leave(1);
  EXPECT_TRUE(m.join(1));
  EXPECT_TRUE(m.end());
  EXPECT_FALSE(m.end());
}

// The first of two engines, and the second one.
struct TwoEngines {
  TwoEngines() {
    all.add(inbox);
    all.add(second.inbox());
    auto stack = stack::Stack::create({}, second.host());
    EXPECT_TRUE(stack.ok());
    second.set_stack(*stack);
  }
  Engines all;
  Poller poller_of_first;
  Inbox inbox{poller_of_first};
  Engine second{{}, 1, &all};
};
class GoneListenerTest : private TwoEngines, public ServerTest {
 protected:
  GoneListenerTest() : ServerTest(&all) {}
  // Whether the second engine has a part, after it has done what it was asked to.
  bool has_part(uint64_t cookie) {
    second.inbox().run(second);
    second.sockets().reap();
    return second.sockets().find_by_cookie(cookie) != nullptr;
  }
  void make_part(uint64_t cookie) {
    Socket& part = second.sockets().create(stack::SocketType::tcp);
    part.set_part(cookie);
    part.on_listening();
  }
};

TEST_F(GoneListenerTest, OneWhoseDescriptorIsGivenBackLeavesNoParts) {
  Client& client = connect_client();
  UniqueFd k;
  uint32_t number;
  ASSERT_TRUE(client.channel()->stock().make(true, k, number));
  Socket& s = sockets.create(stack::SocketType::tcp);
  s.set_id(protocols.next_id++);
  s.set_pair(client.channel()->stock().take(true));
  s.attach(*client.channel());
  run();
  const uint64_t cookie = s.cookie();
  make_part(cookie);
  s.set_has_parts();
  ASSERT_TRUE(has_part(cookie));
  atomic_or(shared(client, s).wants, uint32_t{abi::kWantGiveBack});  // by close(), while another thread is in listen()
  ring(s);
  ASSERT_EQ(counters.pairs_given_back, 1u);
  EXPECT_FALSE(has_part(cookie));
}

}  // namespace
}  // namespace ferry::server

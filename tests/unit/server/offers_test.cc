// Connections that are offered to clients of a listener: taking, taking back, and what a client does wrong.
// Not here: what becomes of those that came back (offers_returned_test.cc).
#include "offers_fixture.h"

namespace ferry::server {
namespace {

TEST_F(OffersTest, NothingIsOfferedToWhoHasNotAccepted) {
  Client& client = accepting_client();
  Socket& listener = listen(client);
  arrive(listener);
  run();
  EXPECT_EQ(offered(client, listener), 0u);
  EXPECT_TRUE(shared(client, listener).ready & abi::kAcceptable);
}

// A program that has accepted may ask at once whether there is more, and block in accept(2) if it is told so: the words that the client
// sees must be right before the turn ends.
TEST_F(OffersTest, WhoHasAcceptedByARequestIsNotToldOfThatConnectionAgain) {
  Client& client = accepting_client();
  Socket& listener = listen(client);
  arrive(listener);
  listener.announce_acceptable();
  ASSERT_TRUE(shared(client, listener).ready & abi::kAcceptable);
  protocols.socket_info.receive_queue = 0;  // once it has been accepted
  ASSERT_TRUE(listener.next_connection(*client.channel(), 0).ok());
  EXPECT_FALSE(shared(client, listener).ready & abi::kAcceptable);
}

TEST_F(OffersTest, WhatIsOfferedIsNotSeenAsWaitingToo) {
  Client& client = accepting_client();
  Socket& listener = listen_for(client);
  run();
  arrive(listener);
  listener.announce_acceptable();
  bool looked = false;
  protocols.within = [&](const stack::Call&) {
    if (offered(client, listener) == 0) return;
    looked = true;
    EXPECT_FALSE(shared(client, listener).ready & abi::kAcceptable);
  };
  run();
  EXPECT_TRUE(looked);
}

TEST_F(OffersTest, AConnectionIsOfferedWithItsInputAndCountsAsWaiting) {
  Client& client = accepting_client();
  Socket& listener = listen_for(client);
  Socket& child = arrive(listener);
  ASSERT_TRUE(receive(child, "hello"));
  const uint32_t seq = shared(client, listener).event_seq;
  run();
  ASSERT_EQ(offered(client, listener), 1u);
  EXPECT_NE(shared(client, listener).event_seq, seq);
  EXPECT_FALSE(shared(client, listener).ready & abi::kAcceptable) << "nothing to ask for";
  EXPECT_EQ(held(), 1);
  EXPECT_EQ(counters.accepted, 0u);
  EXPECT_EQ(&child_of(client, listener), &shared(client, child));
  EXPECT_EQ(read(client, child), "hello");
  claim(client, listener);
  EXPECT_EQ(counters.accepted, 1u);
  EXPECT_EQ(held(), 0);
}

TEST_F(OffersTest, AConnectionIsUsedFromTheMomentItIsTaken) {
  Client& client = accepting_client();
  Socket& listener = listen_for(client);
  Socket& child = arrive(listener);
  run();
  write(client, child, "too early");
  ring(child);
  EXPECT_EQ(protocols.sent, "");
  shared(client, listener).rx_consumed++;  // the doorbell of the child is heard before the listener's
  ring(child);
  EXPECT_EQ(protocols.sent, "too early");
}

TEST_F(OffersTest, NoMoreIsOfferedThanTheClientHasDescriptorsFor) {
  Client& client = accepting_client(2);
  Socket& listener = listen_for(client);
  for (int i = 0; i < 3; ++i) arrive(listener);
  protocols.socket_info.receive_queue = 3;
  run();
  EXPECT_EQ(offered(client, listener), 2u);
  EXPECT_TRUE(shared(client, listener).ready & abi::kAcceptable) << "one has to be asked for";
}

TEST_F(OffersTest, ClientsAreOfferedInTurns) {
  Client& first = accepting_client();
  Client& second = accepting_client();
  Socket& listener = wait_both(first, second);
  listener.offer_to(*first.channel());
  listener.offer_to(*second.channel());
  for (int i = 0; i < 4; ++i) arrive(listener);
  run();
  EXPECT_EQ(offered(first, listener), 2u);
  EXPECT_EQ(offered(second, listener), 2u);
}

TEST_F(OffersTest, WhatIsLeftLyingGoesToWhoAsksAfterAWhile) {
  Client& idle = accepting_client();
  Client& other = accepting_client();
  Socket& listener = wait_both(idle, other);
  listener.offer_to(*idle.channel());
  Socket& child = arrive(listener);
  ASSERT_TRUE(receive(child, "unread"));
  run();
  ASSERT_EQ(offered(idle, listener), 1u);
  EXPECT_FALSE(ctx.offering.empty());
  EXPECT_FALSE(shared(other, listener).ready & abi::kAcceptable);
  EXPECT_EQ(listener.next_connection(*other.channel(), 0).error(), Errc::again) << "not yet";
  shared(idle, child).rx_consumed_bytes = 6;  // a word that does not count before the connection is taken
  shared(idle, child).rx_consumed = 1;

  ctx.now = listener.offer_deadline();
  listener.mark();
  run();
  EXPECT_TRUE(shared(other, listener).ready & abi::kAcceptable);
  EXPECT_FALSE(shared(idle, listener).ready & abi::kAcceptable) << "its own it may be taking just now";
  EXPECT_TRUE(ctx.offering.empty());
  auto next = listener.next_connection(*other.channel(), 0);
  ASSERT_TRUE(next.ok());
  EXPECT_EQ(*next, &child);
  EXPECT_EQ(offered(idle, listener), 0u);
  EXPECT_EQ(counters.offers_taken_back, 1u);
  child.on_accepted();
  child.attach(*other.channel());
  run();
  EXPECT_EQ(read(other, child), "unread");
  arrive(listener);
  run();
  EXPECT_EQ(offered(idle, listener), 0u) << "until it accepts by a request again";
  listener.offer_to(*idle.channel());
  run();
  ASSERT_EQ(offered(idle, listener), 1u) << "behind those that went back";
  claim(idle, listener);
  EXPECT_EQ(counters.accepted, 1u);
  EXPECT_TRUE(ctx.condemned.empty());
}

// Two that serve one connection at a time: were newer ones served first, all could come to wait for silent peers.
TEST_F(OffersTest, WhatIsLeftLyingIsInFrontOfWhatCameLater) {
  Client& busy = accepting_client(8);
  Client& other = accepting_client(8);
  Socket& listener = listen_both(busy, other);
  listener.offer_to(*busy.channel());
  wait_at(busy, listener);
  wait_at(other, listener);
  listener.offer_to(*other.channel());
  std::vector<Socket*> c;
  for (int i = 0; i < 4; ++i) c.push_back(&arrive(listener));
  run();
  ASSERT_EQ(order(busy, listener, c), (std::vector<const Socket*>{c[0]}));
  ASSERT_EQ(order(other, listener, c), (std::vector<const Socket*>{c[1], c[2], c[3]}));
  ctx.now = listener.offer_deadline();
  claim(other, listener);
  c.push_back(&arrive(listener));
  listener.mark();
  run();
  EXPECT_EQ(offered(busy, listener), 0u) << "until it asks again";
  EXPECT_EQ(order(other, listener, c), (std::vector<const Socket*>{c[0], c[2], c[3], c[4]}));
  EXPECT_EQ(counters.offers_taken_back, 3u);
  auto next = listener.next_connection(*busy.channel(), 0);
  EXPECT_EQ(next.error(), Errc::again) << "the other may be taking them just now";
  ctx.now = listener.offer_deadline();
  listener.mark();
  run();
  for (Socket* child : {c[0], c[2], c[3], c[4]}) {
    next = listener.next_connection(*busy.channel(), 0);
    ASSERT_TRUE(next.ok());
    EXPECT_EQ(*next, child);
    child->on_accepted();
    child->attach(*busy.channel());
  }
  EXPECT_TRUE(ctx.condemned.empty());
}

TEST_F(OffersTest, WhoServesOneAtATimeIsOfferedOneWhileItWaits) {
  Client& first = accepting_client(16);
  Client& second = accepting_client(16);
  Socket& listener = listen_both(first, second);
  listener.offer_to(*first.channel());  // it looks away: it accepts
  listener.offer_to(*second.channel());
  arrive(listener);
  run();
  EXPECT_EQ(offered(first, listener) + offered(second, listener), 0u);
  EXPECT_TRUE(shared(first, listener).ready & abi::kAcceptable);
  wait_at(first, listener);
  for (uint32_t i = 0; i < 5; ++i) arrive(listener);
  run();
  EXPECT_EQ(offered(first, listener), 1u);
  EXPECT_EQ(offered(second, listener), 0u);
  EXPECT_TRUE(shared(second, listener).ready & abi::kAcceptable) << "the others are for whoever asks";
  shared(second, listener).waiters = 1;
  listener.mark();
  run();
  EXPECT_EQ(offered(second, listener), 1u);
}

TEST_F(OffersTest, AloneItIsOfferedWhatThereIs) {
  Client& client = accepting_client(8);
  Socket& listener = listen_for(client);
  for (uint32_t i = 0; i < 6; ++i) arrive(listener);
  run();
  EXPECT_EQ(offered(client, listener), 6u);
}

TEST_F(OffersTest, AConnectionSurvivesTheClientThatHasNotTakenIt) {
  Client& dying = accepting_client();
  Client& other = accepting_client();
  Socket& listener = wait_both(dying, other);
  listener.offer_to(*dying.channel());
  Socket& taken = arrive(listener);
  run();
  claim(dying, listener);
  Socket& left = arrive(listener);
  ASSERT_TRUE(receive(left, "for whom it may concern"));
  run();
  ASSERT_EQ(offered(dying, listener), 1u);
  const stack::SocketId taken_id = taken.id();
  kept.clear();
  dying.drop("");
  run();
  run();
  auto next = listener.next_connection(*other.channel(), 0);
  ASSERT_TRUE(next.ok());
  EXPECT_EQ(*next, &left);
  left.on_accepted();
  left.attach(*other.channel());
  run();
  EXPECT_EQ(read(other, left), "for whom it may concern");
  ASSERT_EQ(protocols.count(stack::CallOp::close), 1u);
  for (const stack::Call& c : protocols.calls)
    if (c.op == stack::CallOp::close) { EXPECT_EQ(c.socket, taken_id); }
}

// It took the hang-up of the first descriptor for bytes on the second, which then could not be given back: the connection stayed open.
TEST_F(OffersTest, ADescriptorThatHungUpSaysNothingOfTheNext) {
  Client& dying = accepting_client(1);
  Client& other = accepting_client();
  Socket& listener = wait_both(dying, other);
  listener.offer_to(*dying.channel());
  Socket& child = arrive(listener);
  run();
  ASSERT_EQ(offered(dying, listener), 1u);
  kept.front() = {};
  run();
  run();
  listener.offer_to(*other.channel());
  run();
  ASSERT_EQ(offered(other, listener), 1u);
  claim(other, listener);
  atomic_or(shared(other, child).wants, uint32_t{abi::kWantGiveBack});
  ring(child);
  EXPECT_EQ(counters.pairs_given_back, 1u);
  EXPECT_EQ(protocols.count(stack::CallOp::close), 1u);
}

TEST_F(OffersTest, AClientThatDropsItsDescriptorGetsTheConnectionByAskingForIt) {
  Client& client = accepting_client(1);
  Socket& listener = listen_for(client);
  Socket& child = arrive(listener);
  run();
  ASSERT_EQ(offered(client, listener), 1u);
  kept.clear();
  run();
  run();
  EXPECT_EQ(offered(client, listener), 0u);
  EXPECT_TRUE(shared(client, listener).ready & abi::kAcceptable);
  auto next = listener.next_connection(*client.channel(), 0);
  ASSERT_TRUE(next.ok());
  EXPECT_EQ(*next, &child);
  EXPECT_EQ(protocols.count(stack::CallOp::close), 0u);
}

// A foreign server counts what waits with it, and no more.
TEST_F(OffersTest, WhatComesBackCanBeAskedForThoughTheProtocolDoesNotCountIt) {
  protocols.option_error = Errc::no_protocol_option;
  Client& client = accepting_client(1);
  Socket& listener = listen_for(client);
  arrive(listener);
  protocols.socket_info.receive_queue = 0;
  run();
  ASSERT_EQ(offered(client, listener), 1u);
  EXPECT_FALSE(shared(client, listener).ready & abi::kAcceptable);
  kept.clear();
  run();
  run();
  EXPECT_TRUE(shared(client, listener).ready & abi::kAcceptable);
}

TEST_F(OffersTest, WhoAsksGetsWhatItWasOfferedAndCouldNotTake) {
  Client& client = accepting_client();
  Socket& listener = listen_for(client);
  Socket& child = arrive(listener);
  run();
  auto next = listener.next_connection(*client.channel(), 0);
  ASSERT_TRUE(next.ok());
  EXPECT_EQ(*next, &child);
}

TEST_F(OffersTest, AListenerMayHaveBeenConnectedOnce) {
  Client& client = accepting_client();
  Socket& listener = open(client);
  ASSERT_TRUE(receive(listener, "from an earlier peer"));
  run();
  listener.on_peer(false);
  run();
  listener.on_listening();
  run();
  listener.offer_to(*client.channel());
  EXPECT_EQ(offered(client, listener), 0u);
  Socket& child = arrive(listener);
  run();
  ASSERT_EQ(offered(client, listener), 1u);
  EXPECT_EQ(&child_of(client, listener), &shared(client, child));
  claim(client, listener);
  EXPECT_EQ(counters.accepted, 1u);
  EXPECT_TRUE(ctx.condemned.empty());
}

TEST_F(OffersTest, AClientWithoutASlotIsNotOfferedAnythingUntilItAsks) {
  Client& client = accepting_client(8);
  Socket& listener = listen_for(client);
  // Slots whose locks somebody still holds count as free, and cannot be had.
  while (client.channel()->socket_count() < ctx.limits.sockets - 1) open(client);
  ctx.limits.sockets *= 2;
  open(client);
  arrive(listener);
  run();
  EXPECT_EQ(offered(client, listener), 0u);
  EXPECT_TRUE(shared(client, listener).ready & abi::kAcceptable);
}

TEST_F(OffersTest, AListenerThatEndsResetsWhatNobodyHasTaken) {
  Client& client = accepting_client();
  Socket& listener = listen_for(client);
  const stack::SocketId id = arrive(listener).id();
  run();
  ks[0].reset();
  run();
  run();
  ASSERT_EQ(protocols.count(stack::CallOp::abort), 1u);
  for (const stack::Call& c : protocols.calls)
    if (c.op == stack::CallOp::abort) { EXPECT_EQ(c.socket, id); }
}

TEST_F(OffersTest, AConnectionThatFailsBeforeItIsTakenShowsItsErrorToWhoeverGetsIt) {
  Client& client = accepting_client();
  Socket& listener = listen_for(client);
  Socket& child = arrive(listener);
  run();
  protocols.socket_info.error = Errc::reset;
  child.on_events(static_cast<uint32_t>(tcp::Event::failed));
  run();
  auto next = listener.next_connection(*client.channel(), 0);
  ASSERT_TRUE(next.ok());
  (*next)->on_accepted();
  (*next)->attach(*client.channel());
  EXPECT_EQ((*next)->take_error(), Errc::reset);
}

TEST_F(OffersTest, AClientThatTakesMoreThanItWasOfferedIsCondemned) {
  Client& client = accepting_client();
  Socket& listener = listen_for(client);
  arrive(listener);
  run();
  shared(client, listener).rx_consumed += 9;
  ring(listener);
  EXPECT_EQ(ctx.condemned.size(), 1u);
}

// The first one's end shows what the second has done, while those that broke the protocol are dropped.
TEST_F(OffersTest, WhoIsCondemnedWhileAnotherIsDroppedIsDroppedToo) {
  Client& first = accepting_client();
  Client& second = accepting_client();
  Socket& before = open(first);
  Socket& listener = wait_both(first, second);
  Socket& other = open(first);
  ks[0].reset();  // the connection gets a slot in front of the listener's
  run();
  before.on_events(static_cast<uint32_t>(tcp::Event::closed));
  run();
  listener.offer_to(*first.channel());
  listener.offer_to(*second.channel());
  for (int i = 0; i < 2; ++i) arrive(listener);
  run();
  ASSERT_EQ(offered(first, listener), 1u);
  ASSERT_EQ(offered(second, listener), 1u);
  shared(first, other).tx_produced += 1 << 20;
  ring(other);
  ASSERT_EQ(ctx.condemned.size(), 1u);
  ctx.condemned.shrink_to_fit();
  shared(second, listener).rx_consumed += 9;
  Client::drop_condemned(ctx);
  EXPECT_TRUE(first.gone());
  EXPECT_TRUE(second.gone());
}

TEST_F(OffersTest, WhoHasTooManySocketsLetsConnectionsWait) {
  Client& client = accepting_client();
  sockets.charge(open(client), getuid());
  ctx.limits.sockets_per_uid = 1;
  Socket& listener = listen_for(client);
  for (int i = 0; i < 3; ++i) arrive(listener);
  protocols.socket_info.receive_queue = 3;
  run();
  EXPECT_EQ(offered(client, listener), 0u);
  EXPECT_EQ(protocols.count(stack::CallOp::close) + protocols.count(stack::CallOp::abort), 0u);
  EXPECT_EQ(protocols.count(stack::CallOp::accept), 0u);
  EXPECT_TRUE(shared(client, listener).ready & abi::kAcceptable);
}

}  // namespace
}  // namespace ferry::server

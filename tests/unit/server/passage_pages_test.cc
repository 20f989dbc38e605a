// Pages that one client has sent by reference through a passage, from the server's side: who may, what becomes of those that were not read,
// and references to what does not exist.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <string_view>

#include "ipc/passage.h"
#include "passage_fixture.h"

namespace ferry::server {
namespace {

class PassagePagesTest : public PassageTest {
 protected:
  void SetUp() override {
    PassageTest::SetUp();
    memfd = ipc::OwnedFd(memfd_create("region", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    ASSERT_EQ(ftruncate(memfd.get(), abi::kHugePageSize), 0);
    ASSERT_EQ(fcntl(memfd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    ASSERT_TRUE(first->channel()->add_region(1, memfd.get(), abi::kHugePageSize).ok());
    enter();
  }
  // As the client of `a` does it; the page's bytes are at `offset` of its region.
  void refer(std::string_view text, uint64_t offset, uint16_t hold) {
    ASSERT_EQ(pwrite(memfd.get(), text.data(), text.size(), static_cast<off_t>(offset)), static_cast<ssize_t>(text.size()));
    abi::PassageEnd& e = end(*first, *a);
    held(hold) = 1;
    e.reference[e.references % abi::kPassageReferences] = {e.produced, offset, static_cast<uint32_t>(text.size()), 1, 1, hold, 0};
    e.referred += text.size();
    ++e.references;
  }
  // As the engine does it.
  void reap() {
    std::erase_if(handler.orphans, [](const auto& orphan) { return orphan->unreferenced(); });
  }
  uint32_t& held(uint16_t hold) { return view().held(words(*first, *a).passage_side, hold); }
  void leave() {
    ASSERT_TRUE(a->leave_passage());
    run();
  }
  ipc::OwnedFd memfd;
};

TEST_F(PassagePagesTest, AreAllowedBetweenProcessesOfOneUser) {
  EXPECT_EQ(words(*first, *a).passage_referring, 4 * abi::kHugePageSize);
  b->refresh_buffers();  // a size that its program has chosen
  run();
  EXPECT_EQ(words(*first, *a).passage_referring, words(*first, *a).send_buffer + words(*second, *b).receive_buffer);
  Client& other = connect_client(1 << 20, getuid() + 1);
  other.channel()->allow_peers();
  Socket &c = open(*first), &d = open(other), &e = open(*first), &f = open(*first);
  protocols.twins = {{c.id(), d.owner()}, {d.id(), c.owner()}, {e.id(), f.owner()}, {f.id(), e.owner()}};
  touch(c, 40);
  touch(e, 40);
  ASSERT_TRUE(c.in_passage() && e.in_passage());
  EXPECT_EQ(words(*first, c).passage_referring, 0u);
  EXPECT_EQ(words(other, d).passage_referring, 0u);
  EXPECT_EQ(words(*first, e).passage_referring, 0u);  // one process has nothing to give itself
  ctx.limits.isolate_clients = true;
  Client& same = connect_client();
  same.channel()->allow_peers();
  Socket &g = open(*first), &h = open(same);
  connect(g, h);
  touch(g, 40);
  ASSERT_TRUE(g.in_passage());
  EXPECT_EQ(words(*first, g).passage_referring, 0u);
}

TEST_F(PassagePagesTest, ThatWereNotReadComeInOrderWithTheBytesAndThenAreTheWriters) {
  pass(*first, *a, "one ");
  refer("TWO ", 100, 3);
  pass(*first, *a, "three ");
  refer("FOUR ", 200, 7);
  refer("FIVE ", 4000, 8);
  EXPECT_EQ(a->passed().out, 24u);
  EXPECT_EQ(b->passed().unread, 24u);
  abi::PassageEnd& reader = end(*second, *b);
  reader.consumed = 4;
  reader.dereferred = reader.reference_used = 1;
  ASSERT_TRUE(a->leave_passage());
  EXPECT_EQ(last(CallOp::pass, *a)->number, 24);
  EXPECT_EQ(last(CallOp::pass, *a)->flags, 19u);
  run();
  EXPECT_EQ(read(*second, *b), "WO three FOUR FIVE ");
  touch(*b, 1);
  for (uint16_t hold : {3, 7, 8}) EXPECT_EQ(held(hold), 0u) << hold;
  EXPECT_EQ(counters.passages_broken, 0u);
  EXPECT_EQ(counters.referenced_out, 14u);
  EXPECT_EQ(a->copied().referenced_out, 14u);
  EXPECT_TRUE(first->channel()->peer_region(0)->unused());
  touch(*a, 2000);  // and nothing is left of them in the next one
  ASSERT_TRUE(a->in_passage());
  pass(*first, *a, "next");
  leave();
  EXPECT_EQ(read(*second, *b), "next");
}

TEST_F(PassagePagesTest, AreNotKeptWithoutBoundForOneUser) {
  ctx.limits.references_per_uid = 1;
  refer("ONE", 100, 3);
  leave();
  EXPECT_EQ(read(*second, *b), "ONE");
  touch(*b, 1);
  EXPECT_EQ(counters.passages_broken, 0u);
  touch(*a, 2000);
  ASSERT_TRUE(a->in_passage());
  refer("ONE", 100, 3);
  refer("TWO", 200, 4);
  leave();
  EXPECT_EQ(counters.passages_broken, 1u);
}

TEST_F(PassagePagesTest, StayWhileTheyAreInput) {
  Client& small = connect_client(InputPool::kBlockSize);
  small.channel()->allow_peers();
  Socket& c = open(small);
  receive(c, std::string(64'000, 'y'));  // its pool is full
  connect(*a, c);
  leave();
  touch(*a, 2000);
  ASSERT_TRUE(c.in_passage());
  b = &c;
  const std::string text(200'000, 'x');
  ipc::PeerRegionView there = small.channel()->peer_region(0)->view();
  ASSERT_EQ(pwrite(memfd.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  abi::SocketShared& w = words(*first, *a);
  abi::PassageEnd& e = there.end(w.passage, w.passage_side);
  e.reference[0] = {0, 0, static_cast<uint32_t>(text.size()), 1, 1, 5, 0};
  e.referred = text.size();
  e.references = 1;
  uint32_t& word = there.held(w.passage_side, 5);
  word = 1;
  leave();
  EXPECT_EQ(word, 1u);
  first->drop("");  // its memory stays as long as somebody reads it
  run();
  reap();
  EXPECT_EQ(handler.orphans.size(), 1u);
  EXPECT_EQ(word, 1u);
  EXPECT_EQ(read_in_parts(small, c, 264'000), 264'000u);
  EXPECT_EQ(small.channel()->peer_region(0), nullptr);
  reap();
  EXPECT_TRUE(handler.orphans.empty());
}

TEST_F(PassagePagesTest, OfAWriterThatEndsDuringAReadComeWhenTheReaderLetsGo) {
  pass(*first, *a, "one ");
  refer("TWO ", 100, 3);
  pass(*first, *a, "three ");
  refer("FOUR", 200, 7);
  abi::PassageEnd& reader = end(*second, *b);
  words(*second, *b).rx_lock = abi::kLockHeld;
  first->drop("");
  run();
  reap();
  ASSERT_TRUE(b->in_passage());
  EXPECT_EQ(handler.orphans.size(), 1u);
  reader.consumed = 4;
  reader.dereferred = reader.reference_used = 1;
  words(*second, *b).rx_lock = abi::kLockRevoked;
  ring(*b);
  EXPECT_FALSE(b->in_passage());
  run();
  EXPECT_EQ(read(*second, *b), "WO three FOUR");
  EXPECT_EQ(counters.passages_broken, 0u);
  touch(*b, 1);
  EXPECT_EQ(peers.regions(), 0u);
  reap();
  EXPECT_TRUE(handler.orphans.empty());
}

TEST_F(PassagePagesTest, OfAWriterThatEndsAreGivenUpByAReaderThatStandsStill) {
  refer("never read", 0, 4);
  words(*second, *b).rx_lock = abi::kLockHeld;
  first->drop("");
  run();
  ctx.now = ctx.now + Duration::seconds(2);
  b->mark();
  run();
  EXPECT_FALSE(b->in_passage());
  EXPECT_EQ(counters.passages_broken, 1u);
  ks[0].reset();
  ks[1].reset();
  run();
  for (Socket* s : {a, b}) s->on_events(static_cast<uint32_t>(tcp::Event::closed));
  run();
  EXPECT_EQ(peers.regions(), 0u);
  reap();
  EXPECT_TRUE(handler.orphans.empty());
}

TEST_F(PassagePagesTest, OfADeadReaderAreTheWritersAgain) {
  const ipc::PeerRegionView writers = *ipc::map_peer_memfd(first->channel()->peer_region(0)->memfd());
  const uint32_t side = words(*first, *a).passage_side;
  held(9) = 1;  // it has that page mapped
  refer("never read", 0, 4);
  second->drop("");
  run();
  EXPECT_EQ(writers.held(side, 9), 0u);
  EXPECT_EQ(writers.held(side, 4), 1u);  // for whoever has the socket as well
  ks[1].reset();
  run();
  b->on_events(static_cast<uint32_t>(tcp::Event::closed));
  run();
  EXPECT_EQ(writers.held(side, 4), 0u);
  EXPECT_EQ(peers.regions(), 0u);
  ipc::unmap_peer_region(writers);
}

TEST_F(PassagePagesTest, KeepTheirRegionFromMakingRoomForAnother) {
  ctx.limits.peers = 1;
  held(9) = 1;
  leave();
  Client& third = connect_client();
  third.channel()->allow_peers();
  Socket &c = open(*first), &d = open(third);
  connect(c, d);
  touch(c, 40);
  EXPECT_FALSE(c.in_passage());
  held(9) = 0;
  touch(c, 2000);
  EXPECT_TRUE(c.in_passage());
}

TEST_F(PassagePagesTest, ThatDoNotExistResetTheConnection) {
  using R = abi::PassageReference;
  const std::function<void(R&, abi::PassageEnd&)> lies[] = {
      [](R& r, abi::PassageEnd&) { r.region = 2; },
      [](R& r, abi::PassageEnd&) { r.offset = abi::kHugePageSize; },
      [](R& r, abi::PassageEnd&) { r.offset = UINT64_MAX - 1; },
      [](R& r, abi::PassageEnd&) { r.length = 0; },
      [](R& r, abi::PassageEnd&) { r.hold = abi::kPeerHolds; },
      [](R& r, abi::PassageEnd&) { r.at = 5; },
      [](R&, abi::PassageEnd& reader) { reader.reference_used = 4; },
      [](R&, abi::PassageEnd& reader) { reader.dereferred = 5; },
      [](R&, abi::PassageEnd& reader) { reader.dereferences = 2; },
  };
  leave();
  uint64_t broken = 0;
  for (const auto& lie : lies) {
    SCOPED_TRACE(broken);
    Socket &c = open(*first), &d = open(*second);
    connect(c, d);
    touch(c, 40);
    ASSERT_TRUE(c.in_passage());
    a = &c;
    refer("page", 0, 1);
    lie(end(*first, c).reference[0], end(*second, d));
    ASSERT_TRUE(c.leave_passage());
    run();
    EXPECT_EQ(counters.passages_broken, ++broken);
    EXPECT_FALSE(first->gone() || second->gone());
  }
}

}  // namespace
}  // namespace ferry::server

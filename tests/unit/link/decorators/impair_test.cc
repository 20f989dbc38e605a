#include "link/decorators/impair.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "link/memory.h"
#include "unit/link/frames.h"

namespace ferry::link {
namespace {
using namespace testing;

// An impaired end "a" and a plain end "b". Datagrams carry their number.
class ImpairTest : public ::testing::Test {
 protected:
  void make(const ImpairOptions& o) {
    LinkPair pair = make_memory_pair({.queue_frames = 100000});
    a = make_impair(std::move(pair.first), o);
    b = std::move(pair.second);
    path = {a->capabilities().mac, b->capabilities().mac};
  }
  void send(Link& from, uint32_t number, uint32_t length = 100) {
    store_be32(memory.bytes, 0, number);
    ASSERT_TRUE(from.send(udp_packet(path, memory, {0, length, 1}, Checksums::left_to_link), memory).ok());
  }
  static std::vector<uint32_t> numbers(Link& at) {
    Collector got;
    while (at.receive(got, 64) > 0) {
    }
    std::vector<uint32_t> n;
    for (const auto& f : got.frames) n.push_back(load_be32(f.bytes, 42));
    return n;
  }
  std::vector<uint32_t> pass(const ImpairOptions& o, uint32_t count) {
    make(o);
    for (uint32_t i = 0; i < count; ++i) {
      a->advance(Instant() + Duration::us(i));
      send(*a, i);
    }
    a->advance(Instant() + Duration::seconds(100));
    return numbers(*b);
  }

  OneRegion memory{random_bytes(60000, 1)};
  std::unique_ptr<Impair> a;
  std::unique_ptr<Link> b;
  Path path;
};

ImpairOptions transmit(const Impairment& i, uint64_t seed = 7) { return {i, {}, seed, false}; }

TEST_F(ImpairTest, WithoutImpairmentsPassesSuperFramesUntouched) {
  make({});
  const auto p = tcp_packet(path, memory, {0, 20000, 1}, {}, Checksums::left_to_link, 1448);
  ASSERT_TRUE(a->send(p, memory).ok());
  Collector got;
  b->receive(got, 10);
  ASSERT_EQ(got.frames.size(), 1u);
  EXPECT_EQ(got.frames[0].bytes, flatten(p, memory));
  EXPECT_TRUE(got.frames[0].offload.needs_checksum);
}

TEST_F(ImpairTest, CutsSuperFramesAndFinishesChecksums) {
  make({{}, {}, 1, true});
  ASSERT_TRUE(a->send(tcp_packet(path, memory, {0, 20000, 1}, {}, Checksums::left_to_link, 1448), memory).ok());
  a->flush();
  Collector got;
  b->receive(got, 100);
  ASSERT_EQ(got.frames.size(), 14u);
  for (const auto& f : got.frames) {
    EXPECT_TRUE(checksums_right(f.bytes));
    EXPECT_EQ(f.offload.gso_type, buf::GsoType::none);
    EXPECT_FALSE(f.offload.needs_checksum);
  }
}

TEST_F(ImpairTest, LosesAboutAsMuchAsItWasTold) {
  const auto got = pass(transmit({.loss = 20'000}), 50'000);
  EXPECT_EQ(got.size() + a->transmit_counters().lost, 50'000u);
  EXPECT_NEAR(static_cast<double>(a->transmit_counters().lost), 1000, 150);
  EXPECT_TRUE(std::is_sorted(got.begin(), got.end()));
}

TEST_F(ImpairTest, DuplicatesAndCounts) {
  const auto got = pass(transmit({.duplicate = 100'000}), 10'000);
  EXPECT_EQ(got.size(), 10'000 + a->transmit_counters().duplicated);
  EXPECT_NEAR(static_cast<double>(a->transmit_counters().duplicated), 1000, 150);
  EXPECT_EQ(std::set<uint32_t>(got.begin(), got.end()).size(), 10'000u);
}

TEST_F(ImpairTest, ReordersByHoldingFramesBack) {
  const auto got = pass(transmit({.reorder = 50'000, .reorder_hold = Duration::us(10)}), 10'000);
  ASSERT_EQ(got.size(), 10'000u);
  EXPECT_FALSE(std::is_sorted(got.begin(), got.end()));
  EXPECT_NEAR(static_cast<double>(a->transmit_counters().reordered), 500, 100);
  for (uint32_t i = 0; i < got.size(); ++i) EXPECT_LE(std::abs(static_cast<int>(got[i]) - static_cast<int>(i)), 11);
}

TEST_F(ImpairTest, CorruptsOneBitWhichTheChecksumsFind) {
  make(transmit({.corrupt = 1'000'000}));
  Bytes original;
  for (uint32_t i = 0; i < 500; ++i) {
    send(*a, i);
    a->flush();
    Collector got;
    ASSERT_EQ(b->receive(got, 10), 1u);
    auto clean = udp_packet(path, memory, {0, 100, 1}, Checksums::complete);
    const Bytes expected = flatten(clean, memory);
    unsigned bits = 0;
    for (size_t k = 0; k < expected.size(); ++k)
      bits += static_cast<unsigned>(__builtin_popcount(std::to_integer<unsigned>(expected[k] ^ got.frames[0].bytes[k])));
    EXPECT_EQ(bits, 1u);
    EXPECT_TRUE(std::equal(expected.begin(), expected.begin() + 14, got.frames[0].bytes.begin()));
    EXPECT_FALSE(checksums_right(got.frames[0].bytes));
  }
}

TEST_F(ImpairTest, DelaysByVirtualTime) {
  make(transmit({.delay = Duration::ms(5)}));
  a->advance(Instant() + Duration::ms(1));
  send(*a, 1);
  a->flush();
  EXPECT_TRUE(numbers(*b).empty());
  EXPECT_EQ(a->next_deadline(), Instant() + Duration::ms(6));
  a->advance(Instant() + Duration::ms(6) - Duration::ns(1));
  EXPECT_TRUE(numbers(*b).empty());
  a->advance(Instant() + Duration::ms(6));
  EXPECT_EQ(numbers(*b), std::vector<uint32_t>{1});
  EXPECT_TRUE(a->next_deadline().is_never());
}

TEST_F(ImpairTest, JitterStaysWithinItsBounds) {
  make(transmit({.delay = Duration::ms(1), .jitter = Duration::ms(1)}));
  for (uint32_t i = 0; i < 1000; ++i) send(*a, i);
  a->advance(Instant() + Duration::ms(1) - Duration::ns(1));
  EXPECT_TRUE(numbers(*b).empty());
  a->advance(Instant() + Duration::us(1500));
  const size_t half = numbers(*b).size();
  EXPECT_GT(half, 400u);
  EXPECT_LT(half, 600u);
  a->advance(Instant() + Duration::ms(2));
  EXPECT_EQ(numbers(*b).size(), 1000 - half);
}

// 142-byte frames at 1.136 Mb/s: one a millisecond.
TEST_F(ImpairTest, SpacesFramesAtTheBottleneckAndDropsWhatDoesNotFitItsQueue) {
  make(transmit({.rate_bits = 1'136'000, .queue_bytes = 1420}));
  for (uint32_t i = 0; i < 30; ++i) send(*a, i);
  EXPECT_EQ(a->transmit_counters().overflowed, 20u);
  for (int64_t ms = 1; ms <= 10; ++ms) {
    a->advance(Instant() + Duration::ms(ms) - Duration::ns(1));
    EXPECT_TRUE(numbers(*b).empty());
    a->advance(Instant() + Duration::ms(ms));
    EXPECT_EQ(numbers(*b), std::vector<uint32_t>{static_cast<uint32_t>(ms - 1)});
  }
}

TEST_F(ImpairTest, ImpairsWhatIsReceivedToo) {
  ImpairOptions o;
  o.receive.delay = Duration::ms(2);
  make(o);
  std::swap(path.our_mac, path.their_mac);
  send(*b, 5);
  EXPECT_TRUE(numbers(*a).empty());
  EXPECT_EQ(a->next_deadline(), Instant() + Duration::ms(2));
  a->advance(Instant() + Duration::ms(2));
  EXPECT_EQ(numbers(*a), std::vector<uint32_t>{5});
}

TEST_F(ImpairTest, TheSameSeedGivesTheSameFate) {
  const Impairment all{.loss = 50'000, .duplicate = 50'000, .corrupt = 50'000, .reorder = 50'000, .reorder_hold = Duration::us(7),
                       .jitter = Duration::us(20)};
  const auto once = pass(transmit(all, 42), 2000), again = pass(transmit(all, 42), 2000), other = pass(transmit(all, 43), 2000);
  EXPECT_EQ(once, again);
  EXPECT_NE(once, other);
}

TEST_F(ImpairTest, KeepsWhatTheInnerLinkRefused) {
  LinkPair pair = make_memory_pair({.queue_frames = 1});
  a = make_impair(std::move(pair.first), {{}, {}, 1, true});
  b = std::move(pair.second);
  path = {a->capabilities().mac, b->capabilities().mac};
  for (uint32_t i = 0; i < 3; ++i) send(*a, i);
  std::vector<uint32_t> all;
  for (int turn = 0; turn < 3; ++turn) {
    a->advance(Instant());
    for (const uint32_t n : numbers(*b)) all.push_back(n);
  }
  EXPECT_EQ(all, (std::vector<uint32_t>{0, 1, 2}));
}

TEST_F(ImpairTest, CountsWhatItCannotCut) {
  make({{}, {}, 1, true});
  auto p = tcp_packet(path, memory, {0, 20000, 1}, {}, Checksums::left_to_link, 1448);
  store_u8(p.headers, 23, 99);  // neither TCP nor UDP
  ASSERT_TRUE(a->send(p, memory).ok());
  EXPECT_EQ(a->transmit_counters().malformed, 1u);
}

}  // namespace
}  // namespace ferry::link

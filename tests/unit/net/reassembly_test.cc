#include "net/reassembly.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "net_fixture.h"

namespace ferry::net {
namespace {

using test::Bytes;
using test::kOurs;
using test::kPeer;

struct ReassemblyTest : ::testing::Test {
  Counters counters;
  Reassembler reassembler{counters};
  Instant now = Instant::from_ns(1'000'000'000);
  uint8_t tos = 0;
  Bytes last_fragment;

  static Bytes fragment(uint16_t id, uint32_t offset, bool more, ByteSpan payload, uint8_t tos = 0) {
    wire::Ipv4Fields ip;
    ip.tos = tos;
    ip.identification = id;
    ip.fragment_offset = static_cast<uint16_t>(offset);
    ip.more_fragments = more;
    ip.protocol = wire::kProtocolUdp;
    ip.source = kPeer;
    ip.destination = kOurs;
    ip.total_length = static_cast<uint16_t>(20 + payload.size());
    return test::join(test::emit(ip), payload);
  }
  std::optional<Bytes> add(const Bytes& bytes) {
    last_fragment = bytes;
    auto whole = reassembler.add(now, 0, *wire::Ipv4View::parse(last_fragment));
    if (!whole) return {};
    return test::copy(whole->bytes());
  }
  // The slice [begin, end) of a datagram's payload.
  std::optional<Bytes> add(uint16_t id, const Bytes& payload, size_t begin, size_t end) {
    return add(fragment(id, static_cast<uint32_t>(begin), end < payload.size(),
                        ByteSpan(payload).subspan(begin, end - begin), tos));
  }
  uint64_t drops(Drop d) const { return counters.dropped(d); }
  void TearDown() override { port::set_allocation_gate(nullptr); }
};

TEST_F(ReassemblyTest, InOrder) {
  const Bytes payload = test::pattern(4000);
  EXPECT_FALSE(add(1, payload, 0, 1480));
  EXPECT_FALSE(add(1, payload, 1480, 2960));
  EXPECT_EQ(reassembler.datagrams(), 1u);
  auto whole = add(1, payload, 2960, 4000);
  ASSERT_TRUE(whole);
  auto view = wire::Ipv4View::parse(*whole);
  ASSERT_TRUE(view);
  EXPECT_TRUE(view->checksum_ok());
  EXPECT_FALSE(view->is_fragment());
  EXPECT_EQ(view->total_length(), 4020);
  EXPECT_EQ(view->source(), kPeer);
  EXPECT_EQ(test::copy(view->payload()), payload);
  EXPECT_EQ(reassembler.datagrams(), 0u);
  EXPECT_EQ(reassembler.bytes(), 0u);
  EXPECT_TRUE(reassembler.next_deadline().is_never());
  EXPECT_EQ(counters.datagrams_reassembled, 1u);
}

TEST_F(ReassemblyTest, LargestDatagramInAnyOrder) {
  const Bytes payload = test::pattern(65515);
  std::vector<size_t> starts;
  for (size_t at = 0; at < payload.size(); at += 2960) starts.push_back(at);
  for (uint16_t seed = 0; seed < 20; ++seed) {
    Rng rng(seed);
    for (size_t i = starts.size(); i > 1; --i) std::swap(starts[i - 1], starts[rng.below(static_cast<uint32_t>(i))]);
    std::optional<Bytes> whole;
    for (size_t at : starts) {
      ASSERT_FALSE(whole);
      whole = add(seed, payload, at, std::min(at + 2960, payload.size()));
    }
    ASSERT_TRUE(whole) << seed;
    EXPECT_EQ(test::copy(ByteSpan(*whole).subspan(20)), payload);
  }
}

TEST_F(ReassemblyTest, InterleavedDatagramsStayApart) {
  const Bytes a = test::pattern(3000, 1), b = test::pattern(3000, 2);
  EXPECT_FALSE(add(1, a, 0, 1480));
  EXPECT_FALSE(add(2, b, 1480, 3000));
  EXPECT_EQ(reassembler.datagrams(), 2u);
  EXPECT_EQ(test::copy(ByteSpan(*add(1, a, 1480, 3000)).subspan(20)), a);
  EXPECT_EQ(test::copy(ByteSpan(*add(2, b, 0, 1480)).subspan(20)), b);
}

TEST_F(ReassemblyTest, ARepetitionIsHarmless) {
  const Bytes payload = test::pattern(3000);
  EXPECT_FALSE(add(1, payload, 0, 1480));
  EXPECT_FALSE(add(1, payload, 0, 1480));
  EXPECT_FALSE(add(1, payload, 8, 16));
  EXPECT_EQ(drops(Drop::fragment_overlap), 0u);
  EXPECT_TRUE(add(1, payload, 1480, 3000));
}

TEST_F(ReassemblyTest, OverlapGivesUpTheDatagramForGood) {
  const Bytes payload = test::pattern(3000), other = test::pattern(3000, 2);
  const auto expect_dead = [&](uint16_t id) {
    EXPECT_FALSE(add(id, payload, 0, 1480));
    EXPECT_FALSE(add(id, payload, 1480, 3000));
    EXPECT_EQ(reassembler.bytes(), 0u);
  };
  EXPECT_FALSE(add(1, payload, 0, 1480));
  EXPECT_FALSE(add(1, payload, 1472, 3000));  // reaches back
  expect_dead(1);
  EXPECT_FALSE(add(2, payload, 1480, 2960));
  EXPECT_FALSE(add(2, payload, 0, 1488));  // reaches forward
  expect_dead(2);
  EXPECT_FALSE(add(3, payload, 0, 1480));
  EXPECT_FALSE(add(3, other, 0, 1480));  // the same place, other bytes
  expect_dead(3);
  EXPECT_FALSE(add(4, payload, 8, 16));
  EXPECT_FALSE(add(4, payload, 0, 24));  // encloses
  expect_dead(4);
  EXPECT_GE(drops(Drop::fragment_overlap), 12u);
}

TEST_F(ReassemblyTest, TheEndIsSaidOnce) {
  const Bytes longer = test::pattern(3000), shorter(ByteSpan(longer).begin(), ByteSpan(longer).begin() + 1600);
  EXPECT_FALSE(add(1, longer, 1480, 3000));
  EXPECT_FALSE(add(1, shorter, 1480, 1600));
  EXPECT_FALSE(add(1, longer, 0, 1480));
  EXPECT_FALSE(add(2, shorter, 1480, 1600));
  EXPECT_FALSE(add(2, longer, 1600, 1608));  // beyond the end
  EXPECT_FALSE(add(2, longer, 0, 1480));
  EXPECT_FALSE(add(3, longer, 1600, 1608));
  EXPECT_FALSE(add(3, shorter, 1480, 1600));  // an end below what has come
  EXPECT_GE(drops(Drop::fragment_overlap), 3u);
}

TEST_F(ReassemblyTest, ImpossibleFragmentsAreMalformed) {
  EXPECT_FALSE(add(fragment(1, 0, true, Bytes(12))));        // not a multiple of 8
  EXPECT_FALSE(add(fragment(1, 8, false, {})));              // empty
  EXPECT_FALSE(add(fragment(1, 65528, false, Bytes(8))));    // ping of death
  EXPECT_FALSE(add(fragment(1, 65512, false, Bytes(4))));
  EXPECT_EQ(drops(Drop::fragment_malformed), 4u);
  EXPECT_EQ(reassembler.datagrams(), 0u);
}

TEST_F(ReassemblyTest, HeaderOptionsOfTheFirstFragmentStay) {
  Bytes first = fragment(1, 0, true, test::pattern(16));
  const Bytes options = test::hex("94040000");
  first.insert(first.begin() + 20, options.begin(), options.end());
  first[0] = std::byte{0x46};
  store_be16(first, 2, static_cast<uint16_t>(first.size()));
  EXPECT_FALSE(add(first));
  auto whole = add(fragment(1, 16, false, Bytes(3)));
  ASSERT_TRUE(whole);
  auto view = wire::Ipv4View::parse(*whole);
  EXPECT_EQ(view->header_length(), 24u);
  EXPECT_EQ(view->payload().size(), 19u);
  EXPECT_TRUE(view->checksum_ok());
}

TEST_F(ReassemblyTest, LongHeaderAndLongPayloadTogetherAreTooLong) {
  const Bytes payload = test::pattern(65512);
  EXPECT_FALSE(add(1, payload, 16, 65512));
  Bytes first = fragment(1, 0, true, ByteSpan(payload).first(16));
  first.insert(first.begin() + 20, 4, std::byte{1});
  first[0] = std::byte{0x46};
  store_be16(first, 2, static_cast<uint16_t>(first.size()));
  EXPECT_FALSE(add(first));
  EXPECT_EQ(drops(Drop::fragment_malformed), 1u);
  EXPECT_EQ(reassembler.datagrams(), 0u);
}

TEST_F(ReassemblyTest, CongestionMarksSurvive) {
  const Bytes payload = test::pattern(24);
  const auto merged = [&](uint16_t id, uint8_t first, uint8_t second) -> int {
    tos = first;
    EXPECT_FALSE(add(id, payload, 0, 16));
    tos = second;
    auto whole = add(id, payload, 16, 24);
    return whole ? wire::Ipv4View::parse(*whole)->ecn() : -1;
  };
  EXPECT_EQ(merged(1, wire::kEct0, wire::kEct0), wire::kEct0);
  EXPECT_EQ(merged(2, wire::kEct0, wire::kCongestionExperienced), wire::kCongestionExperienced);
  EXPECT_EQ(merged(3, wire::kCongestionExperienced, wire::kEct1), wire::kCongestionExperienced);
  EXPECT_EQ(merged(4, wire::kNotEct, wire::kNotEct), wire::kNotEct);
  EXPECT_EQ(merged(5, wire::kNotEct, wire::kCongestionExperienced), -1);
  EXPECT_EQ(merged(6, wire::kNotEct, wire::kEct0), wire::kNotEct);
}

TEST_F(ReassemblyTest, ThirtySecondsAndTheBeginningIsShown) {
  const Bytes payload = test::pattern(3000);
  EXPECT_FALSE(add(1, payload, 0, 1480));
  EXPECT_FALSE(add(2, payload, 1480, 3000));
  EXPECT_EQ(reassembler.next_deadline(), now + Reassembler::kTimeout);
  std::vector<uint16_t> shown;
  const auto expire = [&] {
    reassembler.expire(now, [&](LinkIndex, const wire::Ipv4View& beginning) {
      shown.push_back(beginning.identification());
      EXPECT_EQ(beginning.payload().size(), 1480u);
    });
  };
  now = now + Reassembler::kTimeout - Duration::ns(1);
  expire();
  EXPECT_EQ(reassembler.datagrams(), 2u);
  now = now + Duration::ns(1);
  expire();
  EXPECT_EQ(shown, (std::vector<uint16_t>{1}));
  EXPECT_EQ(reassembler.datagrams(), 0u);
  EXPECT_EQ(drops(Drop::fragment_timeout), 2u);
}

TEST_F(ReassemblyTest, BoundedInDatagramsTheOldestGoes) {
  const Bytes payload = test::pattern(3000);
  for (uint16_t id = 1; id <= Reassembler::kMaxDatagrams + 1; ++id) EXPECT_FALSE(add(id, payload, 0, 1480));
  EXPECT_EQ(reassembler.datagrams(), Reassembler::kMaxDatagrams);
  EXPECT_EQ(drops(Drop::fragment_memory), 1u);
  EXPECT_TRUE(add(2, payload, 1480, 3000));
  EXPECT_FALSE(add(1, payload, 1480, 3000));  // gone
}

TEST_F(ReassemblyTest, BoundedInBytes) {
  const Bytes payload = test::pattern(65512);
  for (uint16_t id = 1; id <= Reassembler::kMaxDatagrams; ++id) {
    EXPECT_FALSE(add(id, payload, 65504, 65512));
    EXPECT_LE(reassembler.bytes(), Reassembler::kMaxBytes);
  }
}

TEST_F(ReassemblyTest, BoundedInPieces) {
  const Bytes payload = test::pattern(65512);
  for (size_t i = 0; i < Reassembler::kMaxRanges; ++i) EXPECT_FALSE(add(1, payload, i * 16, i * 16 + 8));
  EXPECT_EQ(drops(Drop::fragment_memory), 0u);
  EXPECT_FALSE(add(1, payload, 60000, 60008));
  EXPECT_EQ(drops(Drop::fragment_memory), 1u);
  EXPECT_EQ(reassembler.bytes(), 0u);
}

TEST_F(ReassemblyTest, EveryAllocationMayFail) {
  static int left;
  const Bytes payload = test::pattern(20000);
  for (int n = 0; n < 7; ++n) {
    left = n;
    port::set_allocation_gate([](size_t) { return left-- > 0; });
    std::optional<Bytes> whole;
    for (size_t at = 0; at < payload.size(); at += 4000) whole = add(static_cast<uint16_t>(n), payload, at, at + 4000);
    port::set_allocation_gate(nullptr);
    EXPECT_EQ(whole.has_value(), n >= 5) << n;  // the entry; 4, 8, 16, 32 KiB of buffer
    EXPECT_EQ(drops(Drop::fragment_memory) > 0, true);
    // Sent again, it is completed.
    if (!whole)
      for (size_t at = 0; at < payload.size(); at += 4000) whole = add(static_cast<uint16_t>(n), payload, at, at + 4000);
    ASSERT_TRUE(whole) << n;
    EXPECT_EQ(test::copy(ByteSpan(*whole).subspan(20)), payload);
  }
}

// Any cut into fragments, in any order, with repetitions, gives the datagram.
RC_GTEST_PROP(ReassemblyProperty, AnyCutAnyOrder, ()) {
  Counters counters;
  Reassembler reassembler(counters);
  const size_t units = *rc::gen::inRange<size_t>(2, 20);
  const Bytes payload = test::pattern(units * 8 - *rc::gen::inRange<size_t>(0, 8));
  std::vector<std::pair<size_t, size_t>> pieces;
  for (size_t at = 0; at < units;) {
    const size_t n = *rc::gen::inRange<size_t>(1, units - at + (at == 0 ? 0 : 1));
    pieces.emplace_back(at * 8, std::min((at + n) * 8, payload.size()));
    at += n;
  }
  Rng rng(*rc::gen::arbitrary<uint32_t>());
  for (size_t i = pieces.size(); i > 1; --i) std::swap(pieces[i - 1], pieces[rng.below(static_cast<uint32_t>(i))]);
  Bytes whole;
  for (size_t i = 0; i < pieces.size(); ++i) {
    for (int again = 0; again < (i + 1 < pieces.size() ? 2 : 1); ++again) {
      const auto [begin, end] = pieces[i];
      const Bytes bytes = ReassemblyTest::fragment(9, static_cast<uint32_t>(begin), end < payload.size(),
                                                   ByteSpan(payload).subspan(begin, end - begin));
      auto view = reassembler.add(Instant(), 0, *wire::Ipv4View::parse(bytes));
      RC_ASSERT(view.has_value() == (i + 1 == pieces.size()));
      if (view) whole = test::copy(view->payload());
    }
  }
  RC_ASSERT(whole == payload);
}

}  // namespace
}  // namespace ferry::net

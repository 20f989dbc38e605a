#include "link/memory.h"

#include <gtest/gtest.h>

#include "unit/link/frames.h"

namespace ferry::link {
namespace {
using namespace testing;

Path path_of(const LinkPair& pair) { return {pair.first->capabilities().mac, pair.second->capabilities().mac}; }

TEST(MemoryLink, DeliversFramesInOrderWithTheirOffload) {
  LinkPair pair = make_memory_pair();
  OneRegion memory(random_bytes(60000, 1));
  const Path path = path_of(pair);
  const auto small = udp_packet(path, memory, {0, 100, 1}, Checksums::complete);
  auto large = tcp_packet(path, memory, {100, 50000, 1}, {}, Checksums::left_to_link, 1448);
  ASSERT_TRUE(pair.first->send(small, memory).ok());
  ASSERT_TRUE(pair.first->send(large, memory).ok());

  Collector got;
  EXPECT_EQ(pair.second->receive(got, 10), 2u);
  ASSERT_EQ(got.frames.size(), 2u);
  EXPECT_EQ(got.frames[0].bytes, flatten(small, memory));
  EXPECT_FALSE(got.frames[0].offload.needs_checksum);
  EXPECT_EQ(got.frames[1].bytes, flatten(large, memory));
  EXPECT_TRUE(got.frames[1].offload.needs_checksum);
  EXPECT_EQ(got.frames[1].offload.gso_type, buf::GsoType::tcp_v4);
  EXPECT_EQ(got.frames[1].offload.gso_size, 1448);
  EXPECT_EQ(pair.first->counters().tx_bytes, got.frames[0].bytes.size() + got.frames[1].bytes.size());
  EXPECT_EQ(pair.second->counters().rx_frames, 2u);
}

TEST(MemoryLink, GathersPartsAndTail) {
  LinkPair pair = make_memory_pair();
  OneRegion memory(random_bytes(1000, 2));
  buf::Packet p = udp_packet(path_of(pair), memory, {10, 20, 1}, Checksums::complete);
  p.append_part({500, 30, 1});
  const Bytes tail = random_bytes(40, 3);
  p.tail = tail;
  p.payload_length += 40;
  ASSERT_TRUE(pair.first->send(p, memory).ok());
  Collector got;
  pair.second->receive(got, 1);
  ASSERT_EQ(got.frames.size(), 1u);
  EXPECT_EQ(got.frames[0].bytes, flatten(p, memory));
  EXPECT_EQ(got.frames[0].bytes.size(), p.frame_length());
}

TEST(MemoryLink, RefusesWhenFullAndTakesAgainAfterwards) {
  LinkPair pair = make_memory_pair({.queue_frames = 2});
  OneRegion memory(random_bytes(100, 4));
  const auto p = udp_packet(path_of(pair), memory, {0, 100, 1}, Checksums::complete);
  ASSERT_TRUE(pair.first->send(p, memory).ok());
  ASSERT_TRUE(pair.first->send(p, memory).ok());
  EXPECT_EQ(pair.first->send(p, memory).error(), Errc::again);
  Collector got;
  EXPECT_EQ(pair.second->receive(got, 1), 1u);
  EXPECT_TRUE(pair.first->wants_write());
  EXPECT_TRUE(pair.first->send(p, memory).ok());
}

TEST(MemoryLink, BoundsBytes) {
  LinkPair pair = make_memory_pair({.queue_bytes = 3000});
  OneRegion memory(random_bytes(1400, 4));
  const auto p = udp_packet(path_of(pair), memory, {0, 1400, 1}, Checksums::complete);
  ASSERT_TRUE(pair.first->send(p, memory).ok());
  ASSERT_TRUE(pair.first->send(p, memory).ok());
  EXPECT_EQ(pair.first->send(p, memory).error(), Errc::again);
}

TEST(MemoryLink, RefusesWhatANetworkCardWould) {
  LinkPair pair = make_memory_pair({.max_gso = 0, .checksums = false});
  OneRegion memory(random_bytes(60000, 5));
  const Path path = path_of(pair);
  EXPECT_EQ(pair.first->send(udp_packet(path, memory, {0, 1473, 1}, Checksums::complete), memory).error(), Errc::malformed);
  EXPECT_TRUE(pair.first->send(udp_packet(path, memory, {0, 1472, 1}, Checksums::complete), memory).ok());
  EXPECT_EQ(pair.first->send(udp_packet(path, memory, {0, 10, 1}, Checksums::left_to_link), memory).error(), Errc::malformed);
  EXPECT_EQ(pair.first->send(tcp_packet(path, memory, {0, 5000, 1}, {}, Checksums::complete, 1448), memory).error(), Errc::malformed);
  auto gone = udp_packet(path, memory, {0, 10, 1}, Checksums::complete);
  gone.parts[0].region = 9;
  EXPECT_EQ(pair.first->send(gone, memory).error(), Errc::malformed);
  EXPECT_EQ(pair.first->counters().tx_errors, 4u);
}

TEST(MemoryLink, TakesWhatIsLongerThanAPacketCanSayIfItCutsThat) {
  OneRegion memory(random_bytes(200'000, 1));
  for (const uint32_t max_gso : {65'000u, 199'999u, 200'000u}) {
    MemoryOptions options;
    options.max_gso = max_gso;
    auto pair = make_memory_pair(options);
    const auto p = tcp_packet({}, memory, {0, 200'000, 1}, {}, Checksums::left_to_link, 1448);
    EXPECT_EQ(pair.first->send(p, memory).ok(), max_gso == 200'000) << max_gso;
  }
}

TEST(MemoryLink, OutlivesItsOtherEnd) {
  LinkPair pair = make_memory_pair();
  OneRegion memory(random_bytes(10, 6));
  const auto p = udp_packet(path_of(pair), memory, {0, 10, 1}, Checksums::complete);
  pair.second.reset();
  EXPECT_TRUE(pair.first->send(p, memory).ok());
  EXPECT_EQ(pair.first->counters().tx_dropped, 1u);
}

}  // namespace
}  // namespace ferry::link

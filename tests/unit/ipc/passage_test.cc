// The rings of a passage: order, wrapping, the base that moves, other sides that lie; regions.
#include "ipc/passage.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/peer_region.h"

namespace ferry::ipc {
namespace {

struct Way {
  abi::PassageEnd writer{}, reader{};
  std::vector<std::byte> ring = std::vector<std::byte>(abi::kPassageBytes);
  PassageProducer out{writer, reader, ring.data()};
  PassageConsumer in{reader, writer, ring.data()};

  size_t write(std::string_view text) {
    size_t done = 0;
    while (done < text.size()) {
      auto used = out.used();
      if (!used || *used == abi::kPassageBytes) break;
      MutableByteSpan room = out.room(*used);
      const size_t n = std::min(room.size(), text.size() - done);
      __builtin_memcpy(room.data(), text.data() + done, n);
      out.commit(static_cast<uint32_t>(n));
      done += n;
    }
    return done;
  }
  std::string read(size_t most) {
    std::string text;
    while (text.size() < most) {
      auto available = in.available();
      if (!available || *available == 0) break;
      ByteSpan bytes = in.bytes(*available);
      const size_t n = std::min(bytes.size(), most - text.size());
      text.append(reinterpret_cast<const char*>(bytes.data()), n);
      in.consume(static_cast<uint32_t>(n));
    }
    return text;
  }
};

TEST(PassageRing, CarriesBytesInOrder) {
  Way way;
  EXPECT_EQ(way.write("hello "), 6u);
  EXPECT_EQ(way.write("world"), 5u);
  EXPECT_EQ(way.read(7), "hello w");
  EXPECT_EQ(way.read(100), "orld");
  EXPECT_EQ(way.read(100), "");
}

TEST(PassageRing, AnEmptyRingBeginsAtItsStartAgain) {
  Way way;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(way.write("message"), 7u);
    EXPECT_EQ(way.in.bytes(7).data(), way.ring.data());
    EXPECT_EQ(way.read(7), "message");
  }
  EXPECT_EQ(way.writer.produced, 700u);
  EXPECT_EQ(way.writer.base, 693u);
}

TEST(PassageRing, IsFullAtItsSizeAndNotBefore) {
  Way way;
  EXPECT_EQ(way.write(std::string(abi::kPassageBytes + 1, 'x')), abi::kPassageBytes);
  EXPECT_EQ(way.write("y"), 0u);
  EXPECT_EQ(way.read(1), "x");
  EXPECT_EQ(way.write("yy"), 1u);
}

TEST(PassageRing, PeekingAheadCrossesTheEnd) {
  Way way;
  way.write(std::string(abi::kPassageBytes - 2, 'x'));
  way.read(abi::kPassageBytes - 3);
  way.write("abcd");
  EXPECT_EQ(way.in.bytes(5).size(), 3u);  // x, a, b
  EXPECT_EQ(way.in.bytes(5, 3).size(), 2u);
  EXPECT_EQ(way.in.bytes(5, 3).data(), way.ring.data());
}

RC_GTEST_PROP(PassageRing, WhatComesOutIsWhatWentIn, ()) {
  Way way;
  std::string wrote, got;
  const auto steps = *rc::gen::container<std::vector<std::pair<bool, uint32_t>>>(
      rc::gen::pair(rc::gen::arbitrary<bool>(), rc::gen::inRange<uint32_t>(1, abi::kPassageBytes + 1000)));
  char next = 0;
  for (const auto& [writes, n] : steps) {
    if (writes) {
      std::string text(n, '\0');
      for (char& c : text) c = next++;
      const size_t taken = way.write(text);
      next = static_cast<char>(next - static_cast<char>(n - taken));
      wrote += text.substr(0, taken);
    } else {
      got += way.read(n);
    }
  }
  got += way.read(SIZE_MAX);
  RC_ASSERT(got == wrote);
}

TEST(PassageRing, ImpossiblePositionsAreRefused) {
  Way way;
  way.write("abc");
  way.reader.consumed = 4;
  EXPECT_EQ(way.out.used().error(), Errc::protocol);
  way.reader.consumed = UINT64_MAX;
  EXPECT_TRUE(way.out.used().ok());  // -1: four bytes outstanding, which could be
  way.reader.consumed = uint64_t{0} - abi::kPassageBytes;
  EXPECT_EQ(way.out.used().error(), Errc::protocol);
  way.writer.produced = abi::kPassageBytes + 1;
  EXPECT_EQ(way.in.available().error(), Errc::protocol);
  way.writer.produced = UINT64_MAX;
  EXPECT_EQ(way.in.available().error(), Errc::protocol);
}

TEST(PassageRing, AnyBaseStaysInTheRing) {
  Way way;
  way.write("0123456789");
  for (uint64_t base : {uint64_t{1}, uint64_t{abi::kPassageBytes - 1}, UINT64_MAX, UINT64_MAX / 2}) {
    way.writer.base = base;
    ByteSpan bytes = way.in.bytes(10);
    EXPECT_GE(bytes.data(), way.ring.data());
    EXPECT_LE(bytes.data() + bytes.size(), way.ring.data() + way.ring.size());
  }
}

TEST(PassageSignal, ReachesQueuesThatWatchAndWakesThoseThatSleep) {
  abi::PassageEnd end{};
  auto queues = std::make_unique<abi::PeerQueue[]>(abi::kMaxQueues);
  end.watches[0] = 3;
  end.watches[1] = 8;
  queues[7].sleeping = 1;
  std::vector<uint32_t> woken;
  signal_passage(end, 70, queues.get(), [&](uint32_t queue) { woken.push_back(queue); });
  EXPECT_EQ(end.event_seq, 1u);
  EXPECT_EQ(queues[2].ready[1], uint64_t{1} << 6);
  EXPECT_EQ(queues[7].ready[1], uint64_t{1} << 6);
  EXPECT_EQ(woken, std::vector<uint32_t>{7});
  EXPECT_EQ(queues[7].sleeping, 0u);
  signal_passage(end, 70, queues.get(), [&](uint32_t queue) { woken.push_back(queue); });
  EXPECT_EQ(woken.size(), 1u);  // nobody wakes who is awake
}

TEST(PassageSignal, QueuesThatDoNotExistAreNotTouched) {
  abi::PassageEnd end{};
  auto queues = std::make_unique<abi::PeerQueue[]>(abi::kMaxQueues);
  for (uint32_t& w : end.watches) w = UINT32_MAX;
  end.watches[1] = abi::kMaxQueues + 1;
  signal_passage(end, 0, queues.get(), [](uint32_t) { FAIL(); });
}

TEST(PeerRegion, IsSealedAndMapsForBoth) {
  auto memfd = make_peer_memfd();
  ASSERT_TRUE(memfd.ok());
  auto one = map_peer_memfd(memfd->get());
  auto two = map_peer_memfd(memfd->get());
  ASSERT_TRUE(one.ok() && two.ok());
  one->end(127, 1).produced = 42;
  *(one->ring(127, 1) + abi::kPassageBytes - 1) = std::byte{7};
  EXPECT_EQ(two->end(127, 1).produced, 42u);
  EXPECT_EQ(*(two->ring(127, 1) + abi::kPassageBytes - 1), std::byte{7});
  one->queue(1, 255).sleeping = 5;
  EXPECT_EQ(two->queue(1, 255).sleeping, 5u);
  EXPECT_NE(raw_syscall(SYS_ftruncate, memfd->get(), 4096), 0);
  unmap_peer_region(*one);
  unmap_peer_region(*two);
}

TEST(PeerRegion, AnotherOneTakesItsPlace) {
  auto first = make_peer_memfd(), second = make_peer_memfd();
  auto view = map_peer_memfd(first->get());
  view->end(0, 0).produced = 1;
  auto again = map_peer_memfd(second->get(), view->base());
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->base(), view->base());
  EXPECT_EQ(view->end(0, 0).produced, 0u);
  unmap_peer_region(*again);
}

TEST(PeerRegion, OtherDescriptorsAreRefused) {
  OwnedFd small(static_cast<int>(raw_syscall(SYS_memfd_create, arg("small"), 0)));
  EXPECT_EQ(map_peer_memfd(small.get()).error(), Errc::malformed);
  raw_syscall(SYS_ftruncate, small.get(), static_cast<long>(kPeerRegionBytes));
  EXPECT_EQ(map_peer_memfd(small.get()).error(), Errc::malformed);  // could shrink under our feet
}

}  // namespace
}  // namespace ferry::ipc

// The rings of a passage: order, wrapping, the base that moves, other sides that lie; regions.
#include "ipc/passage.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
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
      const auto piece = in.at(in.place());
      if (!piece || piece->empty()) break;
      const uint32_t used = in.place().used;
      const size_t n = std::min(piece->refers ? piece->reference.length - used : piece->bytes.size(), most - text.size());
      if (piece->refers) text += page.substr(piece->reference.offset + used, n);
      else text.append(reinterpret_cast<const char*>(piece->bytes.data()), n);
      in.consume(*piece, static_cast<uint32_t>(n));
    }
    return text;
  }
  // What comes next in the ring.
  ByteSpan bytes() const { return in.at(in.place())->bytes; }

  std::string page = std::string(1000, '.');  // what references refer to
  void refer(std::string_view text) {
    const size_t at = next_in_page;
    page.replace(at, text.size(), text);
    next_in_page += text.size();
    out.refer({0, at, static_cast<uint32_t>(text.size()), 1, 1, 0, 0});
  }
  size_t next_in_page = 0;
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
    EXPECT_EQ(way.bytes().data(), way.ring.data());
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
  PassageConsumer::Place ahead = way.in.place();
  auto piece = way.in.at(ahead);
  EXPECT_EQ(piece->bytes.size(), 3u);  // x, a, b
  PassageConsumer::pass(ahead, *piece, 3);
  piece = way.in.at(ahead);
  EXPECT_EQ(piece->bytes.size(), 2u);
  EXPECT_EQ(piece->bytes.data(), way.ring.data());
  EXPECT_EQ(way.read(5), "xabcd");
}

TEST(PassageRing, ReferencesComeInOrderWithTheBytes) {
  Way way;
  way.write("a");
  way.refer("REFERRED");
  way.refer("TWICE");
  way.write("b");
  EXPECT_EQ(way.out.outstanding(), 15u);
  EXPECT_EQ(way.in.unread(), 15u);
  EXPECT_EQ(way.read(4), "aREF");
  EXPECT_EQ(way.out.outstanding(), 11u);
  PassageConsumer later(way.reader, way.writer, way.ring.data());  // goes on where the words say
  EXPECT_EQ(later.place().used, 3u);
  EXPECT_EQ(later.unread(), 11u);
  EXPECT_EQ(way.read(100), "ERREDTWICEb");
  EXPECT_EQ(way.out.outstanding(), 0u);
  way.refer("AT THE START OF AN EMPTY RING");
  way.write("c");
  EXPECT_EQ(way.read(100), "AT THE START OF AN EMPTY RINGc");
}

TEST(PassageRing, NoMoreReferencesThanThereIsRoomFor) {
  Way way;
  for (uint32_t i = 0; i < abi::kPassageReferences; ++i) {
    EXPECT_TRUE(way.out.can_refer(1000));
    way.refer("x");
  }
  EXPECT_FALSE(way.out.can_refer(1000));
  EXPECT_EQ(way.read(1), "x");
  EXPECT_TRUE(way.out.can_refer(1000));
  EXPECT_FALSE(way.out.can_refer(7));  // bytes
}

// The writer stores the reference first, the bytes behind it later, and the reader looks in between.
TEST(PassageRing, AReferenceBehindBytesThatAreNotSeenYetWaitsForThem) {
  Way way;
  way.write("in front");
  way.refer("PAGE");
  const uint64_t produced = std::exchange(way.writer.produced, 0);
  EXPECT_TRUE(way.in.at(way.in.place())->empty());
  way.writer.produced = produced;
  EXPECT_EQ(way.read(100), "in frontPAGE");
}

TEST(PassageRing, ImpossibleReferencesAreRefused) {
  const auto error_with = [](auto change) {
    Way way;
    way.write("abc");
    way.refer("PAGE");
    change(way);
    return way.in.at(way.in.place()).error();
  };
  using R = abi::PassageReference;
  const auto reference = [&](auto change) {
    return error_with([&](Way& way) { change(way.writer.reference[0]); });
  };
  EXPECT_EQ(error_with([](Way&) {}), Errc::ok);
  EXPECT_EQ(error_with([](Way& way) { way.writer.references = abi::kPassageReferences + 1; }), Errc::protocol);
  EXPECT_EQ(reference([](R& r) { r.at = abi::kPassageBytes + 1; }), Errc::protocol);
  EXPECT_EQ(reference([](R& r) { r.at = UINT64_MAX; }), Errc::protocol);
  EXPECT_EQ(reference([](R& r) { r.length = 0; }), Errc::protocol);
  EXPECT_EQ(reference([](R& r) { r.length = static_cast<uint32_t>(abi::kHugePageSize); r.offset = 1; }), Errc::protocol);
  EXPECT_EQ(reference([](R& r) { r.length = UINT32_MAX; }), Errc::protocol);
  EXPECT_EQ(reference([](R& r) { r.region = 0; }), Errc::protocol);
  EXPECT_EQ(reference([](R& r) { r.region = abi::kMaxRegions + 1; }), Errc::protocol);
  EXPECT_EQ(reference([](R& r) { r.hold = abi::kPeerHolds; }), Errc::protocol);
  // One that shrinks while it is being read.
  Way way;
  way.refer("PAGE");
  EXPECT_EQ(way.read(3), "PAG");
  way.writer.reference[0].length = 3;
  EXPECT_EQ(way.in.at(way.in.place()).error(), Errc::protocol);
}

RC_GTEST_PROP(PassageRing, WhatComesOutIsWhatWentIn, ()) {
  Way way;
  std::string wrote, got;
  const auto steps = *rc::gen::container<std::vector<std::pair<bool, uint32_t>>>(
      rc::gen::pair(rc::gen::arbitrary<bool>(), rc::gen::inRange<uint32_t>(1, abi::kPassageBytes + 1000)));
  char next = 0;
  for (const auto& [writes, n] : steps) {
    if (writes && n % 3 == 0 && way.out.can_refer(1000) && way.next_in_page + 10 <= way.page.size()) {
      std::string text(1 + n % 10, '\0');
      for (char& c : text) c = next++;
      way.refer(text);
      wrote += text;
    } else if (writes) {
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
  EXPECT_EQ(way.in.at(way.in.place()).error(), Errc::protocol);
  way.writer.produced = UINT64_MAX;
  EXPECT_EQ(way.in.at(way.in.place()).error(), Errc::protocol);
}

TEST(PassageRing, AnyBaseStaysInTheRing) {
  Way way;
  way.write("0123456789");
  for (uint64_t base : {uint64_t{1}, uint64_t{abi::kPassageBytes - 1}, UINT64_MAX, UINT64_MAX / 2}) {
    way.writer.base = base;
    ByteSpan bytes = way.bytes();
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

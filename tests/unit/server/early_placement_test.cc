// Room in a client's pool that a link fills before the stack asks for it.
#include "server/early_placement.h"

#include "fixture.h"
#include "server/host.h"

namespace ferry::server {
namespace {

constexpr auto kByLink = EarlyPlacement::Filled::by_link;

class EarlyPlacementTest : public ServerTest {
 protected:
  EarlyPlacementTest() : client(connect_client()), socket(open(client)), early(ctx) {}
  uint64_t used() { return client.channel()->input_used(); }
  ByteSpan fill(std::string_view text) {
    MutableByteSpan room = early.prepare(socket, static_cast<uint32_t>(text.size()), kByLink);
    EXPECT_EQ(room.size(), text.size());
    std::memcpy(room.data(), text.data(), text.size());
    return room;
  }
  Client& client;
  Socket& socket;
  EarlyPlacement early;
};

TEST_F(EarlyPlacementTest, WhatIsThereIsTakenWithoutACopy) {
  ByteSpan room = fill("hello world");
  socket.deliver(early.take(socket.owner(), room));
  early.finish();
  run();
  EXPECT_EQ(read(client, socket), "hello world");
  EXPECT_EQ(counters.received_in_place, 11u);
  EXPECT_EQ(counters.copied_in_shared, 0u);
  ring(socket);
  EXPECT_EQ(used(), 0u);
}

TEST_F(EarlyPlacementTest, WhatWasCopiedThereCountsAsCopied) {
  MutableByteSpan room = early.prepare(socket, 5, EarlyPlacement::Filled::by_copy);
  socket.deliver(early.take(socket.owner(), room));
  early.finish();
  EXPECT_EQ(counters.received_in_place, 0u);
  EXPECT_EQ(counters.copied_in_shared, 5u);
}

TEST_F(EarlyPlacementTest, WhatIsNotTakenGoesBack) {
  ByteSpan room = fill("0123456789");
  buf::IoDesc part = early.take(socket.owner(), room.subspan(3, 4));
  EXPECT_EQ(part.length, 4u);
  EXPECT_EQ(used(), 7u);  // what is in front of it has gone back
  early.finish();
  EXPECT_EQ(used(), 4u);
  socket.deliver(part);
  run();
  EXPECT_EQ(read(client, socket), "3456");
  ring(socket);
  EXPECT_EQ(used(), 0u);
}

TEST_F(EarlyPlacementTest, SeveralPartsInOrder) {
  ByteSpan room = fill("0123456789");
  buf::IoDesc first = early.take(socket.owner(), room.subspan(0, 2));
  buf::IoDesc second = early.take(socket.owner(), room.subspan(5, 5));
  EXPECT_TRUE(early.take(socket.owner(), room.subspan(2, 3)).empty());  // has gone back: to be copied
  early.finish();
  EXPECT_EQ(used(), 7u);
  socket.discard(first);
  socket.discard(second);
  EXPECT_EQ(used(), 0u);
}

TEST_F(EarlyPlacementTest, OtherBytesAndOthersAreNotThere) {
  ByteSpan room = fill("hello");
  const std::byte elsewhere[5] = {};
  EXPECT_TRUE(early.take(socket.owner(), elsewhere).empty());
  EXPECT_TRUE(early.take(socket.owner() + 1, room).empty());
  early.finish();
  EXPECT_TRUE(early.take(socket.owner(), room).empty());
  EXPECT_EQ(used(), 0u);
}

TEST_F(EarlyPlacementTest, AFrameThatNeverCameLeavesNothing) {
  fill("lost");
  fill("next");  // prepare() ends what was prepared before
  early.finish();
  EXPECT_EQ(used(), 0u);
}

TEST_F(EarlyPlacementTest, NoRoomForSocketsWithoutAHome) {
  EXPECT_TRUE(early.prepare(socket, 2 << 20, kByLink).empty());  // larger than the pool
  ks.back().reset();
  run();
  EXPECT_TRUE(early.prepare(socket, 100, kByLink).empty());
}

TEST_F(EarlyPlacementTest, PlaceFindsIt) {
  Host host(ctx, sockets);
  MutableByteSpan room = host.early().prepare(socket, 3, kByLink);
  std::memcpy(room.data(), "abc", 3);
  auto there = host.place(socket.owner(), room);
  ASSERT_TRUE(there.ok());
  EXPECT_EQ(memory.read(*there).data(), room.data());
  const std::byte other[3] = {};
  auto copied = host.place(socket.owner(), other);
  ASSERT_TRUE(copied.ok());
  EXPECT_NE(memory.read(*copied).data(), room.data());
  host.early().finish();
  EXPECT_EQ(used(), 6u);
}

}  // namespace
}  // namespace ferry::server

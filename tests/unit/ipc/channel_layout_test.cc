// src/ipc/channel_layout.cc: what one side makes the other can map; headers that lie are refused.
#include "ipc/channel_layout.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <memory>

namespace ferry::ipc {
namespace {

ChannelConfig small() {
  ChannelConfig c;
  c.max_sockets = 10;
  c.max_queues = 3;
  c.output_size = c.input_size = 64 * 4096;
  return c;
}

TEST(ChannelLayout, PartsFollowOneAnotherInWholePages) {
  auto l = ChannelLayout::of(small());
  ASSERT_TRUE(l.ok());
  EXPECT_GE(l->queues_offset, sizeof(abi::ChannelHeader));
  EXPECT_GE(l->sockets_offset, l->queues_offset + 3 * sizeof(abi::EventQueue));
  EXPECT_GE(l->output.offset, l->sockets_offset + 10 * sizeof(abi::SocketShared));
  EXPECT_EQ(l->input.offset, l->output.offset + l->output.size);
  EXPECT_EQ(l->total_size, l->input.offset + l->input.size);
  EXPECT_EQ((l->queues_offset | l->sockets_offset | l->output.offset | l->total_size) % 4096, 0u);
}

TEST(ChannelLayout, RefusesNumbersOutOfRange) {
  auto with = [](auto change) {
    ChannelConfig c = small();
    change(c);
    return ChannelLayout::of(c).error();
  };
  EXPECT_EQ(with([](auto& c) { c.max_sockets = 0; }), Errc::invalid);
  EXPECT_EQ(with([](auto& c) { c.max_sockets = abi::kMaxSockets + 1; }), Errc::invalid);
  EXPECT_EQ(with([](auto& c) { c.max_queues = abi::kMaxQueues + 1; }), Errc::invalid);
  EXPECT_EQ(with([](auto& c) { c.engines = 9; }), Errc::invalid);
  EXPECT_EQ(with([](auto& c) { c.output_size = 4097; }), Errc::invalid);
  EXPECT_EQ(with([](auto& c) { c.input_size = 0; }), Errc::invalid);
  EXPECT_EQ(with([](auto& c) { c.input_size = ~uint64_t{4095}; }), Errc::invalid);
}

TEST(ChannelMap, ClientSeesWhatTheServerMade) {
  auto server = ChannelMap::create(small());
  ASSERT_TRUE(server.ok());
  auto client = ChannelMap::open(OwnedFd(dup(server->fd())));
  ASSERT_TRUE(client.ok());
  EXPECT_EQ(client->layout().total_size, server->layout().total_size);
  EXPECT_EQ(client->layout().input.offset, server->layout().input.offset);
  server->socket(9).generation = 77;
  EXPECT_EQ(client->socket(9).generation, 77u);
  client->bytes(client->layout().output.offset, 4)[3] = std::byte{5};
  EXPECT_EQ(server->bytes(server->layout().output.offset, 4)[3], std::byte{5});
}

TEST(ChannelMap, MemoryCannotBeTakenAway) {
  auto server = ChannelMap::create(small());
  ASSERT_TRUE(server.ok());
  EXPECT_NE(ftruncate(server->fd(), 4096), 0);
  EXPECT_NE(ftruncate(server->fd(), 1 << 30), 0);
  EXPECT_NE(fcntl(server->fd(), F_ADD_SEALS, F_SEAL_WRITE), 0);
  EXPECT_EQ(fcntl(server->fd(), F_GETFD), FD_CLOEXEC);
}

TEST(ChannelMap, OtherVersionsAreNamedAsSuch) {
  auto server = ChannelMap::create(small());
  ASSERT_TRUE(server.ok());
  server->header().version = abi::kVersion + 1;
  EXPECT_EQ(ChannelMap::open(OwnedFd(dup(server->fd()))).error(), Errc::version_mismatch);
  server->header().version = abi::kVersion;
  server->header().socket_size = 64;
  EXPECT_EQ(ChannelMap::open(OwnedFd(dup(server->fd()))).error(), Errc::version_mismatch);
}

TEST(ChannelMap, RefusesWhatIsNoChannel) {
  const int plain = memfd_create("plain", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  ASSERT_EQ(ftruncate(plain, 1 << 20), 0);
  EXPECT_EQ(ChannelMap::open(OwnedFd(dup(plain))).error(), Errc::malformed);  // not sealed
  ASSERT_EQ(fcntl(plain, F_ADD_SEALS, F_SEAL_SHRINK), 0);
  EXPECT_EQ(ChannelMap::open(OwnedFd(plain)).error(), Errc::malformed);       // no magic
  EXPECT_EQ(ChannelMap::open(OwnedFd()).error(), Errc::malformed);
}

TEST(ChannelLayout, AcceptedHeadersAreConsistentWhateverTheySay) {
  const auto honest = std::move(*ChannelMap::create(small()));
  EXPECT_TRUE(rc::check([&](size_t word, uint64_t value) {
    auto header = std::make_unique<abi::ChannelHeader>();
    std::memcpy(header.get(), &honest.header(), sizeof *header);
    uint64_t* words = reinterpret_cast<uint64_t*>(header.get());
    const size_t at = word % (offsetof(abi::ChannelHeader, server_idle) / 8);
    words[at] = *rc::gen::element(value, value % (1 << 21), words[at] ^ 1, words[at] + 4096, words[at] - 4096);
    const uint64_t size = honest.layout().total_size;
    auto l = ChannelLayout::read(*header, size);
    if (!l) return;
    RC_ASSERT(l->queues_offset >= sizeof(abi::ChannelHeader));
    RC_ASSERT(l->sockets_offset >= l->queues_offset + l->max_queues * sizeof(abi::EventQueue));
    RC_ASSERT(l->output.offset >= l->sockets_offset + l->max_sockets * sizeof(abi::SocketShared));
    RC_ASSERT(l->input.offset >= l->output.offset + l->output.size);
    RC_ASSERT(l->input.offset + l->input.size <= size);
  }));
}

}  // namespace
}  // namespace ferry::ipc

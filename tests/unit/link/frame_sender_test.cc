// The sender against a socket pair, which takes as little as the test likes; real packet sockets are in kernel_peer_test.cc.
#include "link/frame_sender.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <optional>

#include "unit/link/frames.h"

namespace ferry::link {
namespace {
using namespace testing;

class FrameSenderTest : public ::testing::Test {
 protected:
  FrameSenderTest() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    ours = ends[0];
    theirs = ends[1];
    sender.emplace(ours, 1500, counters);
  }
  ~FrameSenderTest() override {
    ::close(ours);
    if (theirs >= 0) ::close(theirs);
  }
  buf::Packet small(uint32_t at) { return udp_packet(path, memory, {at, 10, 1}, Checksums::left_to_link); }
  buf::Packet large(uint32_t at) { return tcp_packet(path, memory, {at, 30000, 1}, {}, Checksums::left_to_link, 1448); }
  // The next message at the other end: virtio header and frame. Empty: none.
  Bytes next() {
    Bytes b(70000);
    const ssize_t n = ::recv(theirs, b.data(), b.size(), MSG_DONTWAIT);
    b.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return b;
  }
  Bytes with_header(const buf::Packet& p) {
    const VnetHeader h = encode_vnet(p.offload, p.header_length);
    Bytes b(sizeof h);
    std::memcpy(b.data(), &h, sizeof h);
    const Bytes frame = flatten(p, memory);
    b.insert(b.end(), frame.begin(), frame.end());
    return b;
  }
  int ours = -1, theirs = -1;
  Counters counters;
  std::optional<FrameSender> sender;
  Path path{{{2, 0, 0, 0, 0, 1}}, {{2, 0, 0, 0, 0, 2}}};
  OneRegion memory{random_bytes(60000, 1)};
};

TEST_F(FrameSenderTest, SmallFramesLeaveAtFlush) {
  ASSERT_TRUE(sender->send(small(0), memory).ok());
  EXPECT_TRUE(next().empty());
  EXPECT_EQ(counters.tx_frames, 0u);
  sender->flush();
  EXPECT_EQ(next(), with_header(small(0)));
  EXPECT_EQ(counters.tx_frames, 1u);
  EXPECT_EQ(counters.tx_bytes, small(0).frame_length());
  sender->flush();
  EXPECT_TRUE(next().empty());
}

// Packets and memory are the caller's again once send() has returned.
TEST_F(FrameSenderTest, StagedFramesAreCopies) {
  const Bytes expected = with_header(small(0));
  ASSERT_TRUE(sender->send(small(0), memory).ok());
  std::fill(memory.bytes.begin(), memory.bytes.end(), std::byte{0});
  sender->flush();
  EXPECT_EQ(next(), expected);
}

TEST_F(FrameSenderTest, LargeFramesLeaveAtOnceButNotBeforeEarlierSmallOnes) {
  ASSERT_TRUE(sender->send(small(1), memory).ok());
  ASSERT_TRUE(sender->send(large(2), memory).ok());
  EXPECT_EQ(next(), with_header(small(1)));
  EXPECT_EQ(next(), with_header(large(2)));
  ASSERT_TRUE(sender->send(small(3), memory).ok());
  sender->flush();
  EXPECT_EQ(next(), with_header(small(3)));
}

TEST_F(FrameSenderTest, AFullStageSendsItself) {
  for (uint32_t i = 0; i <= FrameSender::kStagedFrames; ++i) ASSERT_TRUE(sender->send(small(i), memory).ok());
  EXPECT_EQ(counters.tx_frames, FrameSender::kStagedFrames);
  sender->flush();
  for (uint32_t i = 0; i <= FrameSender::kStagedFrames; ++i) EXPECT_EQ(next(), with_header(small(i))) << i;
}

TEST_F(FrameSenderTest, WhenTheKernelIsFullNothingIsLostOrReordered) {
  uint32_t sent = 0;
  Status status;
  while ((status = sender->send(small(sent), memory)).ok()) {
    ASSERT_LT(++sent, 10'000u);
    sender->flush();
  }
  EXPECT_EQ(status.error(), Errc::again);
  EXPECT_TRUE(sender->wants_write());
  EXPECT_EQ(sender->send(large(0), memory).error(), Errc::again);  // not past the staged ones
  uint32_t got = 0;
  for (Bytes b = next(); got < sent; b = next()) {
    if (b.empty()) {
      sender->flush();
      continue;
    }
    ASSERT_EQ(b, with_header(small(got))) << got;
    ++got;
  }
  EXPECT_FALSE(sender->wants_write());
  EXPECT_EQ(counters.tx_frames, sent);
  EXPECT_EQ(counters.tx_errors + counters.tx_dropped, 0u);
  EXPECT_TRUE(sender->send(large(5), memory).ok());
  EXPECT_EQ(next(), with_header(large(5)));
}

TEST_F(FrameSenderTest, CountsWhatCannotBeSent) {
  EXPECT_EQ(sender->send(udp_packet(path, memory, {0, 1473, 1}, Checksums::complete), memory).error(), Errc::malformed);
  EXPECT_EQ(sender->send(udp_packet(path, memory, {59'995, 10, 1}, Checksums::complete), memory).error(), Errc::malformed);
  EXPECT_EQ(counters.tx_errors, 2u);
  ::close(std::exchange(theirs, -1));
  ASSERT_TRUE(sender->send(small(0), memory).ok());
  ASSERT_TRUE(sender->send(small(1), memory).ok());
  const auto before = ::signal(SIGPIPE, SIG_IGN);
  sender->flush();
  ::signal(SIGPIPE, before);
  EXPECT_EQ(counters.tx_errors, 4u);
  EXPECT_FALSE(sender->wants_write());
}

}  // namespace
}  // namespace ferry::link

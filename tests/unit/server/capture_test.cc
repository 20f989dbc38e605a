// Captures: pcapng on a pipe that nobody can block.
#include "server/capture.h"

#include <fcntl.h>

#include <memory>

#include "fixture.h"

namespace ferry::server {
namespace {

class CaptureTest : public ServerTest {
 protected:
  CaptureTest() : host(ctx, sockets), captures(ctx, host) {}
  uint32_t word(const std::string& s, size_t at) {
    uint32_t v;
    std::memcpy(&v, s.data() + at, 4);
    return v;
  }
  std::string read_pipe(int fd) {
    std::string all;
    char piece[65536];
    for (ssize_t n; (n = ::read(fd, piece, sizeof piece)) > 0;) all.append(piece, static_cast<size_t>(n));
    return all;
  }
  void record(size_t n) {
    std::string frame(n, 'f');
    buf::Frame f;
    f.bytes = ByteSpan(reinterpret_cast<const std::byte*>(frame.data()), n);
    captures.on_received(0, f);
  }
  Host host;
  Captures captures;
};

TEST_F(CaptureTest, BlocksAreWholeAndInOrder) {
  UniqueFd fd = captures.start("packet:veth0");
  ASSERT_TRUE(fd);
  record(61);
  captures.flush();
  std::string s = read_pipe(fd.get());
  std::vector<uint32_t> types;
  for (size_t at = 0; at < s.size();) {
    uint32_t length = word(s, at + 4);
    ASSERT_EQ(length % 4, 0u);
    ASSERT_LE(at + length, s.size());
    ASSERT_EQ(word(s, at + length - 4), length);
    types.push_back(word(s, at));
    if (types.back() == 6) {
      EXPECT_EQ(word(s, at + 20), 61u);
      EXPECT_EQ(s[at + 28], 'f');
    }
    at += length;
  }
  EXPECT_EQ(types, (std::vector<uint32_t>{0x0a0d0d0a, 1, 6}));
}

TEST_F(CaptureTest, AReaderThatDoesNotReadLosesFramesAndNobodyWaits) {
  UniqueFd fd = captures.start("x");
  for (int i = 0; i < 400; ++i) {
    record(60000);
    captures.flush();
  }
  EXPECT_GT(counters.capture_dropped, 0u);
  EXPECT_LT(counters.capture_packets, 400u);
}

TEST_F(CaptureTest, EndsWhenTheReaderIsGone) {
  signal(SIGPIPE, SIG_IGN);
  UniqueFd fd = captures.start("x");
  fd.reset();
  record(60);
  captures.flush();
  EXPECT_FALSE(captures.active());
}

TEST_F(CaptureTest, AreBounded) {
  std::vector<UniqueFd> readers;
  for (int i = 0; i < 20; ++i) readers.push_back(captures.start("x"));
  EXPECT_TRUE(readers.front());
  EXPECT_FALSE(readers.back());
}

}  // namespace
}  // namespace ferry::server

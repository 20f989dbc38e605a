#include "link/decorators/capture.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "link/memory.h"
#include "unit/link/captured.h"
#include "unit/link/frames.h"

namespace ferry::link {
namespace {
using namespace testing;

class CaptureTest : public ::testing::Test {
 protected:
  CaptureTest() {
    LinkPair pair = make_memory_pair();
    a = make_capture(std::move(pair.first));
    b = std::move(pair.second);
    there = {a->capabilities().mac, b->capabilities().mac};
    back = there;
    std::swap(back.our_mac, back.their_mac);
    file = ::memfd_create("capture", MFD_CLOEXEC);
  }
  ~CaptureTest() override { ::close(file); }
  void start(const char* filter = "") {
    auto f = CaptureFilter::compile(filter);
    auto w = PcapngWriter::adopt(::dup(file), {});
    a->start(std::move(*w), std::move(*f));
  }
  void exchange(uint16_t port) {
    there.their_port = back.their_port = port;
    EXPECT_TRUE(a->send(udp_packet(there, memory, {0, 50, 1}, Checksums::complete), memory).ok());
    EXPECT_TRUE(b->send(udp_packet(back, memory, {0, 60, 1}, Checksums::complete), memory).ok());
    a->receive(collected, 10);
  }
  std::vector<KeptFrame> recorded() const { return read_capture("/proc/self/fd/" + std::to_string(file)); }
  std::unique_ptr<Capture> a;
  std::unique_ptr<Link> b;
  Path there, back;
  OneRegion memory{random_bytes(60000, 1)};
  Collector collected;
  int file = -1;
};

TEST_F(CaptureTest, RecordsBothDirectionsBetweenStartAndStop) {
  exchange(1);
  EXPECT_FALSE(a->recording());
  start();
  EXPECT_TRUE(a->recording());
  a->advance(Instant::from_ns(1000));
  exchange(2);
  EXPECT_EQ(a->stop(), 2u);
  EXPECT_FALSE(a->recording());
  exchange(3);
  const auto got = recorded();
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(got[0].direction, Direction::outbound);
  EXPECT_EQ(got[0].bytes.size(), 14 + 20 + 8 + 50u);
  EXPECT_EQ(got[0].when.ns(), 1000);
  EXPECT_EQ(got[1].direction, Direction::inbound);
  EXPECT_EQ(got[1].bytes, collected.frames[1].bytes);
  EXPECT_EQ(collected.frames.size(), 3u);  // the stack saw everything, recorded or not
}

TEST_F(CaptureTest, RecordsSuperFramesWhole) {
  start();
  const auto p = tcp_packet(there, memory, {0, 50000, 1}, {}, Checksums::left_to_link, 1448);
  ASSERT_TRUE(a->send(p, memory).ok());
  a->stop();
  const auto got = recorded();
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].bytes, flatten(p, memory));
}

TEST_F(CaptureTest, RecordsWhatTheFilterMatches) {
  start("udp port 8");
  exchange(7);
  exchange(8);
  a->record(Direction::unknown, flatten(udp_packet(there, memory, {0, 5, 1}, Checksums::complete), memory));
  EXPECT_EQ(a->stop(), 3u);
}

TEST_F(CaptureTest, DoesNotRecordWhatTheLinkRefused) {
  start();
  EXPECT_FALSE(a->send(udp_packet(there, memory, {0, 2000, 1}, Checksums::complete), memory).ok());
  EXPECT_EQ(a->stop(), 0u);
}

}  // namespace
}  // namespace ferry::link

// Frames come out as they went in, in order, around the end of the ring, and never more than fit.
#include "stack/loopback_queue.h"

#include <gtest/gtest.h>

#include <deque>
#include <vector>

#include "base/rng.h"
#include "port/user/hooks.h"

namespace ferry::stack {
namespace {

struct Memory final : buf::Memory {
  std::vector<std::byte> bytes = std::vector<std::byte>(65536);
  ByteSpan read(const buf::IoDesc& d) const override {
    return d.region == 1 && d.offset + d.length <= bytes.size() ? ByteSpan(bytes).subspan(d.offset, d.length) : ByteSpan();
  }
  MutableByteSpan write(const buf::IoDesc&) override { return {}; }
};

buf::Packet packet(uint32_t payload, uint8_t mark) {
  buf::Packet p;
  p.append_header(20)[0] = std::byte{mark};
  for (size_t i = 1; i < 20; ++i) p.headers[i] = std::byte{static_cast<uint8_t>(i)};
  if (payload > 0) p.append_part({mark, payload, 1});
  return p;
}

TEST(LoopbackQueue, KeepsFramesInOrderAroundTheEnd) {
  Memory memory;
  for (size_t i = 0; i < memory.bytes.size(); ++i) memory.bytes[i] = std::byte{static_cast<uint8_t>(i * 7)};
  LoopbackQueue queue(10'000);
  struct Expected {
    uint32_t payload;
    uint8_t mark;
  };
  std::deque<Expected> expected;
  Rng rng(3);
  uint8_t mark = 0;
  int refused = 0;
  for (int i = 0; i < 20000; ++i) {
    if (rng.below(2) == 0) {
      const uint32_t payload = rng.below(rng.below(10) == 0 ? 6000 : 300);
      const Status s = queue.push(mark, packet(payload, mark), memory);
      if (s) {
        expected.push_back({payload, mark++});
      } else {
        ASSERT_EQ(s.error(), Errc::no_buffers);
        ++refused;
      }
    } else if (!expected.empty()) {
      const LoopbackQueue::Entry e = queue.front();
      ASSERT_EQ(e.link, expected.front().mark);
      ASSERT_EQ(e.frame.bytes.size(), 20 + expected.front().payload);
      ASSERT_EQ(e.frame.bytes[0], std::byte{expected.front().mark});
      ASSERT_TRUE(equal_bytes(e.frame.bytes.subspan(20), ByteSpan(memory.bytes).subspan(expected.front().mark, expected.front().payload)));
      queue.pop();
      expected.pop_front();
    }
    ASSERT_EQ(queue.empty(), expected.empty());
    ASSERT_LE(queue.used(), 10'000u);
  }
  EXPECT_GT(refused, 0);
}

TEST(LoopbackQueue, KeepsWhatTheLinkWasToDo) {
  Memory memory;
  LoopbackQueue queue(100'000);
  buf::Packet p = packet(10, 1);
  p.offload.needs_checksum = true;
  p.offload.gso_size = 1448;
  ASSERT_TRUE(queue.push(0, p, memory).ok());
  EXPECT_TRUE(queue.front().frame.offload.needs_checksum);
  EXPECT_EQ(queue.front().frame.offload.gso_size, 1448);
}

TEST(LoopbackQueue, RefusesPayloadThatIsGone) {
  Memory memory;
  LoopbackQueue queue(100'000);
  buf::Packet p = packet(0, 1);
  p.append_part({0, 10, 99});
  EXPECT_EQ(queue.push(0, p, memory).error(), Errc::malformed);
  EXPECT_TRUE(queue.empty());
}

TEST(LoopbackQueue, RefusesWhatNeverFitsAndCopesWithoutMemory) {
  Memory memory;
  LoopbackQueue queue(1000);
  EXPECT_EQ(queue.push(0, packet(2000, 1), memory).error(), Errc::no_buffers);
  LoopbackQueue other(1000);
  port::set_allocation_gate([](size_t) { return false; });
  const Status s = other.push(0, packet(1, 1), memory);
  port::set_allocation_gate(nullptr);
  EXPECT_EQ(s.error(), Errc::no_memory);
}

}  // namespace
}  // namespace ferry::stack

// src/ipc/descriptor_ring.h: order, bounds, and words that the other side writes at random.
#include "ipc/descriptor_ring.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <thread>

namespace ferry::ipc {
namespace {

struct Ring {
  abi::Descriptor entries[abi::kRingEntries] = {};
  uint32_t produced = 0, consumed = 0;
};

TEST(DescriptorRing, KeepsOrderAcrossTheWrap) {
  Ring ring;
  RingProducer producer;
  RingConsumer consumer;
  uint64_t in = 0, out = 0;
  for (int round = 0; round < 100; ++round) {
    while (producer.space(ring.consumed) > 0) producer.push(ring.entries, ring.produced, {in++, 1, 0, 0});
    EXPECT_EQ(*consumer.available(ring.produced), abi::kRingEntries);
    for (int i = 0; i < 1 + round % 32; ++i) {
      EXPECT_EQ(consumer.peek(ring.entries).offset, out++);
      consumer.advance(ring.consumed);
    }
  }
}

TEST(DescriptorRing, IndicesWrapAround) {
  Ring ring;
  RingProducer producer;
  RingConsumer consumer;
  producer.start_at(0xfffffff0);
  consumer.start_at(0xfffffff0);
  ring.consumed = ring.produced = 0xfffffff0;
  for (uint64_t i = 0; i < 32; ++i) producer.push(ring.entries, ring.produced, {i, 1, 0, 0});
  EXPECT_EQ(producer.space(ring.consumed), 0u);
  EXPECT_EQ(*consumer.available(ring.produced), 32u);
  EXPECT_EQ(consumer.peek(ring.entries, 31).offset, 31u);
}

TEST(DescriptorRing, ImpossibleIndexOfTheProducerIsAProtocolError) {
  RingConsumer consumer;
  EXPECT_EQ(consumer.available(33).error(), Errc::protocol);
  EXPECT_EQ(consumer.available(0xffffffff).error(), Errc::protocol);
}

TEST(DescriptorRing, ImpossibleIndexOfTheConsumerGivesNoSpace) {
  RingProducer producer;
  EXPECT_EQ(producer.space(1), 0u);
  EXPECT_EQ(producer.space(0), 32u);
}

TEST(DescriptorRing, AcceptedDescriptorsAreInsideWhateverTheyClaim) {
  EXPECT_TRUE(rc::check([](uint64_t offset, uint32_t length, uint16_t region, uint16_t flags) {
    const PoolArea area{4096, 1 << 20};
    const abi::Descriptor shared{offset, length, region, flags};
    const abi::Descriptor d = load_descriptor(shared);
    if (!is_inside(d, area)) return;
    RC_ASSERT(d.region == 0);
    RC_ASSERT(d.offset >= area.offset && d.offset <= area.offset + area.size);
    RC_ASSERT(area.offset + area.size - d.offset >= d.length);
  }));
}

TEST(DescriptorRing, EdgesOfTheArea) {
  const PoolArea area{4096, 8192};
  EXPECT_TRUE(is_inside({4096, 8192, 0, 0}, area));
  EXPECT_TRUE(is_inside({12288, 0, 0, 0}, area));
  EXPECT_FALSE(is_inside({4095, 1, 0, 0}, area));
  EXPECT_FALSE(is_inside({4096, 8193, 0, 0}, area));
  EXPECT_FALSE(is_inside({12288, 1, 0, 0}, area));
  EXPECT_FALSE(is_inside({~uint64_t{0}, 2, 0, 0}, area));
  EXPECT_FALSE(is_inside({4096, 1, 1, 0}, area));
}

TEST(DescriptorRing, ThreadsPassEverythingInOrder) {
  constexpr uint64_t kCount = 200000;
  Ring ring;
  std::thread client([&] {
    RingProducer producer;
    for (uint64_t i = 0; i < kCount;)
      if (producer.space(ring.consumed) > 0) producer.push(ring.entries, ring.produced, {i, static_cast<uint32_t>(i), 0, 0}), ++i;
      else std::this_thread::yield();
  });
  RingConsumer consumer;
  bool in_order = true;
  for (uint64_t i = 0; i < kCount;) {
    const uint32_t n = *consumer.available(ring.produced);
    if (n == 0) std::this_thread::yield();
    for (uint32_t k = 0; k < n; ++k, ++i) {
      const abi::Descriptor d = consumer.peek(ring.entries, k);
      in_order = in_order && d.offset == i && d.length == static_cast<uint32_t>(i);
    }
    consumer.advance(ring.consumed, n);
  }
  client.join();
  EXPECT_TRUE(in_order);
}

}  // namespace
}  // namespace ferry::ipc

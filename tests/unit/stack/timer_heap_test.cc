// The earliest deadline is always first, whatever is armed, moved and removed.
#include "stack/timer_heap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/rng.h"
#include "port/user/hooks.h"

namespace ferry::stack {
namespace {

Instant at(int64_t ms) { return Instant::from_ns(ms * 1'000'000); }

TEST(TimerHeap, IsEmptyAtFirst) {
  TimerHeap heap;
  EXPECT_EQ(heap.first(), nullptr);
  EXPECT_TRUE(heap.next_deadline().is_never());
}

TEST(TimerHeap, MovesANodeBothWays) {
  TimerHeap heap;
  TimerNode a, b;
  ASSERT_TRUE(heap.reserve(2).ok());
  heap.set(a, at(10));
  heap.set(b, at(20));
  EXPECT_EQ(heap.first(), &a);
  heap.set(a, at(30));
  EXPECT_EQ(heap.first(), &b);
  heap.set(a, at(5));
  EXPECT_EQ(heap.first(), &a);
  heap.remove(a);
  EXPECT_FALSE(a.armed());
  EXPECT_EQ(heap.next_deadline(), at(20));
}

TEST(TimerHeap, AgreesWithASortedListUnderRandomOperations) {
  TimerHeap heap;
  std::vector<TimerNode> nodes(300);
  ASSERT_TRUE(heap.reserve(300).ok());
  Rng rng(7);
  for (int i = 0; i < 20000; ++i) {
    TimerNode& n = nodes[rng.below(300)];
    heap.set(n, rng.below(4) == 0 ? Instant::never() : at(rng.below(1000)));
    const auto least = std::min_element(nodes.begin(), nodes.end(), [](auto& x, auto& y) { return x.at < y.at; });
    ASSERT_EQ(heap.next_deadline(), least->at);
    ASSERT_EQ(heap.size(), static_cast<size_t>(std::count_if(nodes.begin(), nodes.end(), [](auto& x) { return x.armed(); })));
  }
}

TEST(TimerHeap, SaysThatThereIsNoMemory) {
  TimerHeap heap;
  port::set_allocation_gate([](size_t) { return false; });
  const Status s = heap.reserve(1);
  port::set_allocation_gate(nullptr);
  EXPECT_EQ(s.error(), Errc::no_memory);
}

}  // namespace
}  // namespace ferry::stack

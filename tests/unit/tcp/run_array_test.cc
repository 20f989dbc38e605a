#include "tcp/run_array.h"

#include <gtest/gtest.h>

#include <deque>

#include "base/rng.h"
#include "port/user/hooks.h"

namespace ferry::tcp {
namespace {

TEST(RunArray, BehavesLikeADequeWithABound) {
  RunArray<int, 2, 64> array;
  std::deque<int> model;
  Rng rng(1);
  for (int i = 0; i < 20000; ++i) {
    uint32_t size = static_cast<uint32_t>(model.size());
    switch (rng.below(5)) {
      case 0:
      case 1:
        EXPECT_EQ(array.push_back(i), size < 64);
        if (size < 64) model.push_back(i);
        break;
      case 2: {
        uint32_t at = rng.below(size + 1);
        EXPECT_EQ(array.insert(at, i), size < 64);
        if (size < 64) model.insert(model.begin() + at, i);
        break;
      }
      case 3: {
        uint32_t n = rng.below(size + 1);
        array.pop_front(n);
        model.erase(model.begin(), model.begin() + n);
        break;
      }
      case 4: {
        uint32_t at = rng.below(size + 1), n = rng.below(size - at + 1);
        array.erase(at, n);
        model.erase(model.begin() + at, model.begin() + at + n);
        break;
      }
    }
    ASSERT_EQ(array.size(), model.size());
    for (uint32_t k = 0; k < array.size(); ++k) ASSERT_EQ(array[k], model[k]);
  }
}

TEST(RunArray, WithoutMemoryKeepsWhatItHas) {
  RunArray<int, 2, 64> array;
  port::set_allocation_gate([](size_t) { return false; });
  EXPECT_TRUE(array.push_back(1));
  EXPECT_TRUE(array.push_back(2));
  EXPECT_FALSE(array.push_back(3));
  EXPECT_FALSE(array.insert(0, 3));
  port::set_allocation_gate(nullptr);
  ASSERT_EQ(array.size(), 2u);
  EXPECT_EQ(array[0], 1);
  EXPECT_EQ(array.back(), 2);
  array.pop_front(1);
  EXPECT_TRUE(array.insert(0, 7));  // the place in front is free
  EXPECT_EQ(array[0], 7);
}

}  // namespace
}  // namespace ferry::tcp

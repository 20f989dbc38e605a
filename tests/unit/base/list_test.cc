#include "base/list.h"

#include <gtest/gtest.h>

#include <vector>

namespace ferry {
namespace {

struct Red;
struct Blue;
struct Item : ListNode<Red>, ListNode<Blue> {
  explicit Item(int v) : value(v) {}
  int value;
};

template <typename Tag>
std::vector<int> values(const List<Item, Tag>& list) {
  std::vector<int> out;
  for (const Item* i = list.front(); i != nullptr; i = list.next(*i)) out.push_back(i->value);
  return out;
}

TEST(List, KeepsOrderAtBothEnds) {
  List<Item, Red> list;
  Item a(1), b(2), c(3);
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.front(), nullptr);
  list.push_back(b);
  list.push_back(c);
  list.push_front(a);
  EXPECT_EQ(values(list), (std::vector{1, 2, 3}));
  EXPECT_EQ(list.back(), &c);
  EXPECT_EQ(list.prev(a), nullptr);
  EXPECT_EQ(list.prev(c), &b);
  while (list.pop_front() != nullptr) {}
}

TEST(List, ErasesAnywhereAndTakesBack) {
  List<Item, Red> list;
  Item a(1), b(2), c(3);
  list.push_back(a);
  list.push_back(b);
  list.push_back(c);
  list.erase(b);
  EXPECT_EQ(values(list), (std::vector{1, 3}));
  EXPECT_FALSE(static_cast<ListNode<Red>&>(b).linked());
  list.insert_before(a, b);
  EXPECT_EQ(values(list), (std::vector{2, 1, 3}));
  EXPECT_EQ(list.pop_front(), &b);
  EXPECT_EQ(values(list), (std::vector{1, 3}));
}

TEST(List, OneElementInTwoLists) {
  List<Item, Red> red;
  List<Item, Blue> blue;
  Item a(1), b(2);
  red.push_back(a);
  red.push_back(b);
  blue.push_back(b);
  blue.push_back(a);
  red.erase(a);
  EXPECT_EQ(values(red), (std::vector{2}));
  EXPECT_EQ(values(blue), (std::vector{2, 1}));
}

}  // namespace
}  // namespace ferry

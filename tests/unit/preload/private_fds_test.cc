// libferry's own descriptors: found, moved high, out of the program's way.
#include "preload/private_fds.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <memory>

namespace ferry::preload {
namespace {

TEST(PrivateFds, KnowsItsMembers) {
  auto set = std::make_unique<PrivateFds>();
  EXPECT_FALSE(set->contains(5));
  EXPECT_EQ(set->next(0, 1000), -1);
  set->add(70);
  set->add(70);
  set->add(64);
  EXPECT_TRUE(set->contains(70));
  EXPECT_FALSE(set->contains(71));
  EXPECT_FALSE(set->contains(-1));
  set->remove(70);
  EXPECT_FALSE(set->contains(70));
  EXPECT_TRUE(set->contains(64));
}

TEST(PrivateFds, FindsTheNextOneOfARange) {
  auto set = std::make_unique<PrivateFds>();
  for (int fd : {3, 64, 700}) set->add(fd);
  EXPECT_EQ(set->next(0, ~0u), 3);
  EXPECT_EQ(set->next(4, ~0u), 64);
  EXPECT_EQ(set->next(65, 699), -1);
  EXPECT_EQ(set->next(65, 700), 700);
  EXPECT_EQ(set->next(701, ~0u), -1);
}

TEST(PrivateFds, AdoptsByMovingToAHighCloseOnExecNumber) {
  auto set = std::make_unique<PrivateFds>();
  int low = eventfd(0, 0);
  ASSERT_GE(low, 0);
  int high = set->adopt(low);
  EXPECT_GE(high, PrivateFds::floor());
  EXPECT_TRUE(set->contains(high));
  EXPECT_EQ(fcntl(low, F_GETFD), -1);
  EXPECT_EQ(fcntl(high, F_GETFD), FD_CLOEXEC);
  set->close(high);
  EXPECT_FALSE(set->contains(high));
  EXPECT_EQ(fcntl(high, F_GETFD), -1);
}

}  // namespace
}  // namespace ferry::preload

// Counting threads that sleep, over fork.
#include "client/sleepers.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ferry::client::test {
namespace {

TEST(Sleepers, CountsEachUntilItLeaves) {
  Sleepers s;
  EXPECT_FALSE(s.any());
  const uint32_t a = s.enter(), b = s.enter();
  s.leave(a);
  EXPECT_TRUE(s.any());
  s.leave(b);
  EXPECT_FALSE(s.any());
  s.leave(b);
  EXPECT_FALSE(s.any());
}

// In a child the parent's threads do not sleep; one that a signal handler made comes back from its parent's sleep.
TEST(Sleepers, OfTheParentDoNotCountInAChild) {
  Sleepers s;
  const uint32_t of_parent = s.enter();
  const pid_t child = fork();
  if (child == 0) {
    const bool before = s.any();
    const uint32_t own = s.enter();
    s.leave(of_parent);
    const bool with_own = s.any();
    s.leave(own);
    _exit(!before && with_own && !s.any() ? 0 : 1);
  }
  int status = 1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(s.any());
  s.leave(of_parent);
}

}  // namespace
}  // namespace ferry::client::test

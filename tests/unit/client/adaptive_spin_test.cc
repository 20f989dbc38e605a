// The wait in user space before a sleep: what it learns, and when it looks. Nothing here is timed.
#include "client/adaptive_spin.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstddef>
#include <iterator>
#include <thread>

namespace ferry::client {
namespace {

constexpr uint32_t kMost = 20'000;
constexpr auto kAwake = [] { return true; };

// One that has learned to spin for so long.
AdaptiveSpin patient(uint32_t ns) {
  AdaptiveSpin spin;
  while (spin.budget() < ns) spin.learn(1, ns);
  return spin;
}

TEST(AdaptiveSpin, ShortWaitsAllowMoreUpToTheLimit) {
  AdaptiveSpin spin;
  uint32_t before = spin.budget();
  EXPECT_GT(before, 0u);
  for (int i = 0; i < 10; ++i) {
    spin.learn(kMost, kMost);
    EXPECT_GE(spin.budget(), before);
    before = spin.budget();
  }
  EXPECT_EQ(spin.budget(), kMost);
}

TEST(AdaptiveSpin, LongWaitsAllowLessDownToNothing) {
  AdaptiveSpin spin;
  for (int i = 0; i < 10; ++i) spin.learn(kMost, kMost);
  int waits = 0;
  for (; spin.budget() != 0; ++waits) spin.learn(kMost + 1, kMost);
  EXPECT_EQ(waits, 7);  // 20,000 down to 312
}

TEST(AdaptiveSpin, OneShortSleepIsEnoughToSpinAgain) {
  AdaptiveSpin spin;
  while (spin.budget() != 0) spin.learn(kMost + 1, kMost);
  spin.learn(1, kMost);
  EXPECT_EQ(spin.budget(), 2'000u);
}

TEST(AdaptiveSpin, FindsWhatIsThereAtTheFirstLook) {
  if (!has_cpus_to_spin()) GTEST_SKIP() << "on one CPU nothing spins";
  AdaptiveSpin spin;
  int looks = 0;
  EXPECT_TRUE(spin.run(kMost, kAwake, [&] { return ++looks > 0; }));
  EXPECT_EQ(looks, 1);
}

TEST(AdaptiveSpin, EndsWithNothingAndThenLearnsFromTheSleep) {
  AdaptiveSpin spin;
  const uint32_t before = spin.budget();
  EXPECT_FALSE(spin.run(kMost, kAwake, [] { return false; }));
  EXPECT_EQ(spin.budget(), before);  // the sleep has not ended
  spin.slept(0);
  EXPECT_EQ(spin.budget(), before / 2);
}

TEST(AdaptiveSpin, StopsWhenTheOtherFallsAsleep) {
  AdaptiveSpin spin = patient(1'000'000'000);
  int asked = 0;
  EXPECT_FALSE(spin.run(1'000'000'000, [&] { return ++asked < 3; }, [] { return false; }));
  EXPECT_EQ(asked, has_cpus_to_spin() ? 3 : 0);
}

// Two threads on one CPU wait for each other in turn: each gets it when the other has nothing to do, not when its time slice has ended, which
// is tens of thousands of looks later.
TEST(AdaptiveSpin, WhoeverElseWantsTheCpuGetsIt) {
  if (!has_cpus_to_spin()) GTEST_SKIP() << "on one CPU nothing spins";
  constexpr int kTurns = 200;
  constexpr uint32_t kLong = 1'000'000'000;
  const int cpu = sched_getcpu();
  std::atomic<int> turn{0};
  std::atomic<long> looks{0};
  const auto play = [&](int mine) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    AdaptiveSpin spin = patient(kLong);
    for (int i = mine; i < kTurns; i += 2) {
      while (!spin.run(kLong, kAwake, [&] { return ++looks, turn.load() == i; })) {
      }
      turn = i + 1;
    }
  };
  std::thread other(play, 1);
  std::thread(play, 0).join();
  other.join();
  EXPECT_EQ(turn, kTurns);
  EXPECT_LT(looks, kTurns * 2'000);
}

// How a child ends (wait(2)) that spins for long under a filter that kills for sched_yield.
int spin_filtered(bool confined) {
  const pid_t child = fork();
  if (child == 0) {
    sock_filter lines[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                           BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sched_yield, 0, 1),
                           BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const sock_fprog program{static_cast<unsigned short>(std::size(lines)), lines};
    set_confined(confined);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) _exit(1);
    AdaptiveSpin spin = patient(1'000'000);
    _exit(spin.run(1'000'000, kAwake, [] { return false; }) ? 2 : 0);
  }
  int status = 0;
  return waitpid(child, &status, 0) == child ? status : -1;
}

TEST(AdaptiveSpin, AConfinedProcessMakesNoSystemCallForIt) {
  if (!has_cpus_to_spin()) GTEST_SKIP() << "on one CPU nothing spins";
  EXPECT_EQ(spin_filtered(true), 0);
  const int status = spin_filtered(false);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) << "it would: " << status;
}

TEST(AdaptiveSpin, LooksNotAtAllWithoutABudget) {
  AdaptiveSpin spin;
  int looks = 0;
  EXPECT_FALSE(spin.run(0, kAwake, [&] { return ++looks > 0; }));
  while (spin.budget() != 0) spin.learn(kMost + 1, kMost);
  EXPECT_FALSE(spin.run(kMost, kAwake, [&] { return ++looks > 0; }));
  EXPECT_EQ(looks, 0);
}

}  // namespace
}  // namespace ferry::client

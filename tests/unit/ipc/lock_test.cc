// src/ipc/lock.cc: mutual exclusion, and revocation by the server.
#include "ipc/lock.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace ferry::ipc {
namespace {

TEST(Lock, TakesAndReleases) {
  uint32_t word = 0;
  ASSERT_EQ(lock(word), LockResult::acquired);
  EXPECT_FALSE(try_lock(word));
  EXPECT_FALSE(unlock(word));
  EXPECT_EQ(word, 0u);
}

TEST(Lock, RevokedWhileFreeIsTheServersAtOnce) {
  uint32_t word = 0;
  EXPECT_TRUE(revoke(word));
  EXPECT_TRUE(is_released(word));
  EXPECT_EQ(lock(word), LockResult::revoked);
  end_revocation(word, true);
  EXPECT_EQ(lock(word), LockResult::acquired);
}

TEST(Lock, RevokedWhileHeldIsReportedByTheHolder) {
  uint32_t word = 0;
  ASSERT_EQ(lock(word), LockResult::acquired);
  EXPECT_FALSE(revoke(word));
  EXPECT_FALSE(is_released(word));
  EXPECT_TRUE(unlock(word));
  EXPECT_TRUE(is_released(word));
  EXPECT_EQ(lock(word), LockResult::revoked);
}

TEST(Lock, WaitingEndsWithTheRevocation) {
  uint32_t word = 0;
  revoke(word);
  std::thread server([&] { end_revocation(word, true); });
  while ((load_acquire(word) & abi::kLockRevoked) != 0) wait_while_revoked(word);
  server.join();
  EXPECT_EQ(lock(word), LockResult::acquired);
}

TEST(Lock, KeepsThreadsApart) {
  constexpr int kThreads = 4, kRounds = 20000;
  uint32_t word = 0;
  uint64_t counter = 0;  // plain: torn without the lock
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < kRounds; ++i) {
        ASSERT_EQ(lock(word), LockResult::acquired);
        counter = counter + 1;
        ASSERT_FALSE(unlock(word));
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(counter, uint64_t{kThreads} * kRounds);
  EXPECT_EQ(word, 0u);
}

// Clients take the lock, the server keeps revoking it; while it is released and revoked, no client is inside.
TEST(Lock, NobodyIsInsideWhileTheServerOwnsIt) {
  constexpr int kThreads = 3, kRevocations = 500;
  uint32_t word = 0;
  std::atomic<int> inside{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> clients;
  for (int t = 0; t < kThreads; ++t)
    clients.emplace_back([&] {
      while (!stop) {
        if (lock(word) == LockResult::revoked) {
          wait_while_revoked(word);
          continue;
        }
        inside.fetch_add(1);
        inside.fetch_sub(1);
        static_cast<void>(unlock(word));
      }
    });
  for (int i = 0; i < kRevocations; ++i) {
    if (!revoke(word))
      while (!is_released(word)) std::this_thread::yield();
    EXPECT_EQ(inside, 0);
    end_revocation(word, true);
  }
  stop = true;
  for (auto& t : clients) t.join();
  EXPECT_EQ(word & abi::kLockHeld, 0u);
}

}  // namespace
}  // namespace ferry::ipc

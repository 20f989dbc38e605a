// Processes, signals and what fork leaves behind: process.cc, mutex.cc, critical.cc, and blocking calls under signals.
#include "client/process.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include <utility>

#include "client/critical.h"
#include "client/mutex.h"
#include "client/socket.h"
#include "client/sys.h"
#include "fake_server.h"
#include "ipc/futex.h"

namespace ferry::client::test {
namespace {

// Runs `f` in a forked child; whether it returned true there.
template <typename F>
bool in_child(F&& f) {
  const pid_t child = fork();
  if (child == 0) _exit(f() ? 0 : 1);
  int status = 0;
  return waitpid(child, &status, 0) == child && status == 0;
}

TEST(Process, ChildrenHaveNumbersOfTheirOwn) {
  const uint32_t mine = process_token();
  EXPECT_NE(mine, 0u);
  EXPECT_EQ(process_token(), mine);
  EXPECT_TRUE(in_child([&] {
    const uint32_t childs = process_token();
    if (childs == mine || childs == 0) return false;
    return in_child([&] { return process_token() != childs && process_token() != mine; });
  }));
  EXPECT_EQ(process_token(), mine);
}

TEST(Mutex, KeepsThreadsApart) {
  Mutex mutex;
  uint64_t counter = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 20000; ++i) {
        Guard guard(mutex);
        counter = counter + 1;
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(counter, 80000u);
}

TEST(Mutex, WhatAnotherThreadHeldAtForkIsFreeInTheChild) {
  Mutex mutex;
  mutex.lock();
  EXPECT_TRUE(in_child([&] {
    mutex.lock();  // hangs, and the test with it, if it counts as held
    mutex.unlock();
    return true;
  }));
  mutex.unlock();
}

TEST(Critical, DeferredSignalsRunWhenTheOutermostSectionEnds) {
  static int runs;
  runs = 0;
  g_on_critical_leave = [] { t_critical.deferred = false, ++runs; };
  {
    Critical outer;
    EXPECT_TRUE(in_critical_section());
    {
      Critical inner;
      t_critical.deferred = true;
    }
    EXPECT_EQ(runs, 0);
  }
  EXPECT_EQ(runs, 1);
  EXPECT_FALSE(in_critical_section());
  { Critical again; }
  EXPECT_EQ(runs, 1);
  g_on_critical_leave = nullptr;
}

// A reader that blocks while signals come in. With a lifeline signal configured the wait has no time-out, so that the kernel's
// rules for restarting hold (signal(7)).
class Signals : public testing::Test {
 protected:
  void SetUp() override {
    Config config;
    config.path = server_.path();
    config.lifeline_signal = SIGRTMAX - 1;
    struct sigaction action {};
    action.sa_handler = [](int) { Channel::on_lifeline_signal(); };
    sigaction(config.lifeline_signal, &action, nullptr);
    Channel::configure(config);
    k_ = socket_.open(abi::kKindTcp, false, false, true);
    ASSERT_GE(k_, 0);
    ASSERT_EQ(socket_.connect(k_, make_address(1, 1), false), 0);
  }
  void TearDown() override {
    socket_.close();
    ::close(k_);
  }
  void handle_with(int flags) {
    struct sigaction action {};
    action.sa_handler = [](int) { handled.fetch_add(1); };
    action.sa_flags = flags;
    sigaction(SIGUSR1, &action, nullptr);
    handled = 0;
  }
  std::thread start_reader() {
    done_ = false;
    return std::thread([this] {
      iovec v{buffer_, sizeof buffer_};
      ReceiveRequest request;
      request.data = {&v, 1};
      result_ = socket_.receive(k_, request);
      done_ = true;
    });
  }
  static inline std::atomic<int> handled{0};
  FakeServer server_;
  Socket socket_;
  int k_ = -1;
  char buffer_[16];
  std::atomic<long> result_{0};
  std::atomic<bool> done_{false};
};

// Behind chroot ferryd is out of reach, but not out of mind: what came from it is to be named, not left as some AF_UNIX socket.
TEST(Process, ChildrenKnowTheSocketsOfAServerThatTheyCannotReach) {
  FakeServer server;  // in this process: SO_PEERCRED of its sockets names it
  Channel* channel = nullptr;
  ASSERT_EQ(Channel::current(channel), 0);
  int from_server[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, from_server), 0);
  EXPECT_TRUE(looks_like_ferry(from_server[0]));
  EXPECT_TRUE(in_child([&] {
    Config elsewhere;
    elsewhere.path = "/nonexistent/ferryd.sock";
    Channel::configure(elsewhere);
    int own[2];
    if (Channel::current(channel) == 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, own) != 0) return false;
    return looks_like_ferry(from_server[0]) && !looks_like_ferry(own[0]);
  }));
  for (const int fd : from_server) close(fd);
}

// The server may see the end of a program's control connection, and end its lifeline, while execve(2) is still closing descriptors: the
// signal would meet the new program without a handler.
TEST_F(Signals, TheLifelineIsQuietAroundExec) {
  static std::atomic<int> told;
  told = 0;
  struct sigaction action {};
  action.sa_handler = [](int) { Channel::on_lifeline_signal(), ++told; };
  sigaction(SIGRTMAX - 1, &action, nullptr);
  Channel* channel = Channel::existing();
  Channel::before_exec();
  server_.stop();
  EXPECT_EQ(told, 0);
  EXPECT_FALSE(channel->is_dead());
  Channel::after_failed_exec();  // there was no such program, say
  EXPECT_TRUE(channel->is_dead());
}

TEST_F(Signals, ALifelineSignalThatIsBlockedDoesNotOutliveExec) {
  sigset_t set, pending;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMAX - 1);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &set, nullptr), 0);
  server_.stop();
  ASSERT_EQ(sigpending(&pending), 0);
  ASSERT_TRUE(sigismember(&pending, SIGRTMAX - 1));
  Channel::before_exec();
  ASSERT_EQ(sigpending(&pending), 0);
  EXPECT_FALSE(sigismember(&pending, SIGRTMAX - 1));
  Channel::after_failed_exec();
  ASSERT_EQ(pthread_sigmask(SIG_UNBLOCK, &set, nullptr), 0);
}

TEST_F(Signals, HandlerWithoutRestartEndsTheCall) {
  handle_with(0);
  std::thread reader = start_reader();
  while (!done_) {
    pthread_kill(reader.native_handle(), SIGUSR1);
    std::this_thread::yield();
  }
  reader.join();
  EXPECT_EQ(result_, -EINTR);
}

TEST_F(Signals, HandlerWithRestartDoesNot) {
  handle_with(SA_RESTART);
  std::thread reader = start_reader();
  while (handled < 200) {
    pthread_kill(reader.native_handle(), SIGUSR1);
    std::this_thread::yield();
  }
  EXPECT_FALSE(done_);
  server_.with([&] { server_.last().pending.push_back("data"); });
  reader.join();
  EXPECT_EQ(result_, 4);
}

TEST_F(Signals, WaitingThreadsAreNotCountedForEver) {
  handle_with(0);
  std::thread reader = start_reader();
  while (!done_) {
    pthread_kill(reader.native_handle(), SIGUSR1);
    std::this_thread::yield();
  }
  reader.join();
  server_.with([&] { EXPECT_EQ(load_relaxed(server_.last().shared().waiters), 0u); });
}

TEST_F(Signals, LifelineWakesSleepersWithoutAnyTimeout) {
  std::thread reader = start_reader();
  for (bool asleep = false; !asleep;) {
    std::lock_guard lock(server_.mutex);
    asleep = load_relaxed(server_.last().shared().waiters) != 0;
  }
  server_.stop();  // the pipe's hang-up sends the signal
  reader.join();
  EXPECT_EQ(result_, -ENETDOWN);
}

// No time-out but that of a look now and then, which comes soon here.
TEST_F(Signals, WhoBlocksTheLifelinesSignalLooks) {
  sigset_t set;
  sigfillset(&set);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &set, nullptr), 0);
  const auto whole_slice = std::exchange(sys().futex_wait_slice, [](const uint32_t* word, uint32_t expected, const timespec* timeout) {
    EXPECT_NE(timeout, nullptr);
    const timespec soon{0, 1'000'000};
    return ipc::futex_wait(*word, expected, &soon);
  });
  std::thread reader = start_reader();
  for (bool asleep = false; !asleep;) {
    std::lock_guard lock(server_.mutex);
    asleep = load_relaxed(server_.last().shared().waiters) != 0;
  }
  server_.stop();
  reader.join();  // hangs if it does not
  EXPECT_EQ(result_, -ENETDOWN);
  sys().futex_wait_slice = whole_slice;
  Channel::before_exec();  // the signal is not to come after all
  ASSERT_EQ(pthread_sigmask(SIG_UNBLOCK, &set, nullptr), 0);
}

}  // namespace
}  // namespace ferry::client::test

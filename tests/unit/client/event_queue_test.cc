// Event queues: sockets that report to them, and threads that sleep on them.
#include "client/event_queue.h"

#include <poll.h>

#include "connection_fixture.h"

namespace ferry::client::test {
namespace {

class WatchedConnection : public Connection {
 protected:
  // The queue watches the socket.
  void start(int k) {
    ASSERT_EQ(queue_.open(), 0);
    ASSERT_EQ(queue_.watch(socket_, k), 0);
  }
  // The same, and what is to be looked at in any case is taken.
  void start_quiet(int k) {
    start(k);
    uint32_t slots[4];
    queue_.take(slots, 4);
  }
  EventQueue queue_;
};

// Threads of an epoll set sleep before it has its first socket.
TEST_F(WatchedConnection, AQueueThatOpensIsAnnouncedToThoseWhoSleepAlready) {
  const int k = connected(socket_, false);
  EventQueue::Sleep first, second;
  ASSERT_TRUE(queue_.prepare_sleep(first));
  ASSERT_TRUE(queue_.prepare_sleep(second));
  start(k);
  uint32_t slots[4];
  queue_.take(slots, 4);
  for (EventQueue::Sleep* sleep : {&first, &second}) {
    EXPECT_TRUE(queue_.has_sleepers());
    server_.with([&] { server_.last().pending.push_back("wake up"); });
    pollfd p{queue_.fd(), POLLIN, 0};
    EXPECT_EQ(poll(&p, 1, 2000), 1);
    queue_.finish_sleep(*sleep);
    EXPECT_EQ(queue_.take(slots, 4), 1u);
    EXPECT_EQ(receive(socket_, k, 7, MSG_WAITALL), "wake up");
  }
  EXPECT_FALSE(queue_.has_sleepers());
  queue_.unwatch(socket_);
  ::close(k);
}

TEST_F(WatchedConnection, ASleepThatWasNotAnnouncedIsNotTakenBack) {
  const int k = connected(socket_, false);
  start_quiet(k);
  EventQueue::Sleep before_it_was_open;
  EventQueue::Sleep first, second;
  ASSERT_TRUE(queue_.prepare_sleep(first));
  ASSERT_TRUE(queue_.prepare_sleep(second));
  queue_.finish_sleep(before_it_was_open);
  queue_.finish_sleep(first);
  queue_.finish_sleep(first);
  // One sleeps on, and has to be woken.
  server_.with([&] { server_.last().pending.push_back("wake up"); });
  pollfd p{queue_.fd(), POLLIN, 0};
  EXPECT_EQ(poll(&p, 1, 2000), 1);
  queue_.finish_sleep(second);
  queue_.unwatch(socket_);
  ::close(k);
}

TEST_F(WatchedConnection, EventQueueReportsWhatItWatches) {
  const int k = connected(socket_, false);
  start(k);
  uint32_t slots[4];
  ASSERT_EQ(queue_.take(slots, 4), 1u);  // to be looked at once in any case
  EXPECT_EQ(queue_.socket_at(slots[0]), &socket_);
  EXPECT_EQ(socket_.readiness(k) & POLLIN, 0u);
  EventQueue::Sleep sleep;
  ASSERT_TRUE(queue_.prepare_sleep(sleep));
  server_.with([&] { server_.last().pending.push_back("wake up"); });
  pollfd p{queue_.fd(), POLLIN, 0};
  EXPECT_EQ(poll(&p, 1, -1), 1);
  queue_.finish_sleep(sleep);
  ASSERT_EQ(queue_.take(slots, 4), 1u);
  EXPECT_EQ(slots[0], socket_.slot());
  EXPECT_NE(socket_.readiness(k) & POLLIN, 0u);
  EXPECT_EQ(poll(&p, 1, 0), 0);
  queue_.unwatch(socket_);
  server_.with([&] { server_.last().pending.push_back("unheard"); });
  EXPECT_EQ(receive(socket_, k, 14, MSG_WAITALL), "wake upunheard");
  EXPECT_EQ(queue_.take(slots, 4), 0u);
  ::close(k);
}

TEST_F(WatchedConnection, EveryEventWakesASleepingQueue) {
  const int k = connected(socket_);
  start(k);
  for (int i = 0; i < 2000; ++i) {
    ASSERT_EQ(send(socket_, k, "ping"), 4);
    std::string got;
    while (got.size() < 4) {
      const std::string part = receive(socket_, k, 4 - got.size(), MSG_DONTWAIT);
      if (part != "error 11") {
        got += part;
        continue;
      }
      EventQueue::Sleep sleep;
      if (queue_.prepare_sleep(sleep)) {
        pollfd p{queue_.fd(), POLLIN, 0};
        poll(&p, 1, -1);
      }
      queue_.finish_sleep(sleep);
      uint32_t slot;
      queue_.take(&slot, 1);
    }
    ASSERT_EQ(got, "ping");
  }
  queue_.unwatch(socket_);
  ::close(k);
}

// A program that blocks all signals learns of it by the queue alone.
TEST_F(WatchedConnection, WhoIsWokenByTheServersEndKnows) {
  const int k = connected(socket_, false);
  start_quiet(k);
  EventQueue::Sleep sleep;
  ASSERT_TRUE(queue_.prepare_sleep(sleep));
  testing::internal::CaptureStderr();
  server_.stop();
  pollfd p{queue_.fd(), POLLIN, 0};
  EXPECT_EQ(poll(&p, 1, -1), 1);
  queue_.finish_sleep(sleep);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("is gone"), std::string::npos);
  EXPECT_FALSE(queue_.is_current());
  EXPECT_NE(socket_.readiness(k) & POLLHUP, 0u);
  queue_.unwatch(socket_);
  ::close(k);
}

TEST_F(WatchedConnection, WhoTakesBackAWakeUpByTheServersEndKnows) {
  const int k = connected(socket_, false);
  start(k);
  testing::internal::CaptureStderr();
  server_.stop();
  queue_.drain();
  EXPECT_NE(testing::internal::GetCapturedStderr().find("is gone"), std::string::npos);
  EXPECT_FALSE(queue_.is_current());
  queue_.unwatch(socket_);
  ::close(k);
}

TEST_F(WatchedConnection, WatchesAreLimited) {
  const int k = connected(socket_);
  EventQueue queues[5];
  for (int i = 0; i < 4; ++i) {
    ASSERT_EQ(queues[i].open(), 0);
    EXPECT_EQ(queues[i].watch(socket_, k), 0);
  }
  ASSERT_EQ(queues[4].open(), 0);
  EXPECT_EQ(queues[4].watch(socket_, k), -ENOSPC);
  queues[0].unwatch(socket_);
  EXPECT_EQ(queues[4].watch(socket_, k), 0);
  for (auto& q : queues) q.unwatch(socket_);
  ::close(k);
}

}  // namespace
}  // namespace ferry::client::test

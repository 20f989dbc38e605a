#include "server/inbox.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "server/engine.h"

namespace ferry::server {
namespace {

TEST(Inbox, RunsEveryTaskOnceInTheOrderOfItsSender) {
  EngineConfig config;
  Engine engine(config);
  constexpr int kSenders = 4, kTasks = 2000;
  std::vector<int> next(kSenders);
  bool in_order = true;
  std::vector<std::thread> senders;
  for (int s = 0; s < kSenders; ++s)
    senders.emplace_back([&, s] {
      for (int i = 0; i < kTasks; ++i)
        engine.inbox().post([&, s, i](Engine& e) {
          in_order = in_order && &e == &engine && next[static_cast<size_t>(s)] == i;
          ++next[static_cast<size_t>(s)];
        });
    });
  int left = kSenders * kTasks;
  while (left > 0) {
    int before = 0, after = 0;
    for (int n : next) before += n;
    engine.inbox().run(engine);
    for (int n : next) after += n;
    left -= after - before;
  }
  for (auto& t : senders) t.join();
  EXPECT_TRUE(in_order);
  EXPECT_FALSE(engine.inbox().run(engine));
}

TEST(Inbox, WakesAPollerThatSleeps) {
  Poller poller;
  Inbox inbox(poller);
  EXPECT_EQ(poller.wait(Duration::zero()), 0);
  std::thread sender([&] { inbox.post([](Engine&) {}); });
  EXPECT_EQ(poller.wait(Poller::forever()), 1);
  sender.join();
  inbox.post([](Engine&) {});  // not run yet: no second wake-up is needed
  EXPECT_EQ(poller.wait(Duration::zero()), 0);
}

TEST(Inbox, DestroysTasksThatNeverRan) {
  auto alive = std::make_shared<int>(0);
  {
    Poller poller;
    Inbox inbox(poller);
    inbox.post([alive](Engine&) { FAIL(); });
    EXPECT_EQ(alive.use_count(), 2);
  }
  EXPECT_EQ(alive.use_count(), 1);
}

TEST(Engines, AskingTheOthersEndsWhenAllHaveAnswered) {
  EngineConfig config;
  Engines all;
  std::vector<std::unique_ptr<Engine>> engines;
  for (uint32_t i = 0; i < 3; ++i) {
    engines.push_back(std::make_unique<Engine>(config, i, &all));
    all.add(engines.back()->inbox());
  }
  std::vector<uint32_t> asked;
  int done = 0;
  all.ask_others(
      1, [&](Engine& e) { asked.push_back(e.context().engine); },
      [&](Engine& e) {
        EXPECT_EQ(e.context().engine, 1u);
        ++done;
      });
  EXPECT_FALSE(engines[1]->inbox().run(*engines[1]));
  engines[2]->inbox().run(*engines[2]);
  EXPECT_FALSE(engines[1]->inbox().run(*engines[1]));
  engines[0]->inbox().run(*engines[0]);
  EXPECT_EQ(done, 0);
  engines[1]->inbox().run(*engines[1]);
  EXPECT_EQ(done, 1);
  EXPECT_EQ(asked, (std::vector<uint32_t>{2, 0}));
}

}  // namespace
}  // namespace ferry::server

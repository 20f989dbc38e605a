// src/ipc/doorbell.h, event_queue.h: bits are neither lost nor invented; nobody sleeps through one.
#include "ipc/doorbell.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <set>
#include <thread>

#include "base/rng.h"
#include "ipc/event_queue.h"

namespace ferry::ipc {
namespace {

std::set<uint32_t> take_all(abi::SlotBitmap& map, uint32_t slots = abi::kMaxSockets) {
  std::set<uint32_t> got;
  take_slots(map, slots, [&](uint32_t slot) { EXPECT_TRUE(got.insert(slot).second); });
  return got;
}

TEST(SlotBitmap, TakesWhatWasSetOnce) {
  auto map = std::make_unique<abi::SlotBitmap>();
  for (uint32_t slot : {0u, 63u, 64u, 4095u, 4096u, 16383u, 63u}) set_slot(*map, slot);
  EXPECT_TRUE(any_slot(*map));
  EXPECT_EQ(take_all(*map), (std::set<uint32_t>{0, 63, 64, 4095, 4096, 16383}));
  EXPECT_FALSE(any_slot(*map));
  EXPECT_TRUE(take_all(*map).empty());
}

TEST(SlotBitmap, DropsSlotsThatDoNotExist) {
  auto map = std::make_unique<abi::SlotBitmap>();
  for (auto& w : map->words) w = ~uint64_t{0};
  for (auto& s : map->summary) s = ~uint64_t{0};
  EXPECT_EQ(take_all(*map, 100).size(), 100u);
}

TEST(SlotBitmap, LeavesWhatDoesNotFit) {
  auto map = std::make_unique<abi::SlotBitmap>();
  std::set<uint32_t> all;
  for (uint32_t i = 0; i < 1000; ++i) all.insert(i * 16), set_slot(*map, i * 16);
  std::set<uint32_t> got;
  uint32_t slots[7];
  while (uint32_t n = take_some_slots(*map, abi::kMaxSockets, slots, 7))
    for (uint32_t i = 0; i < n; ++i) EXPECT_TRUE(got.insert(slots[i]).second);
  EXPECT_EQ(got, all);
  EXPECT_FALSE(any_slot(*map));
}

// Setters number their events; the taker must see the last number of each slot in the end.
TEST(SlotBitmap, NoEventIsLostBetweenThreads) {
  constexpr uint32_t kSlots = 130, kEvents = 60000, kSetters = 2;
  auto map = std::make_unique<abi::SlotBitmap>();
  std::vector<uint32_t> written(kSlots), seen(kSlots);
  std::atomic<uint32_t> running{kSetters};
  std::vector<std::thread> setters;
  for (uint32_t t = 0; t < kSetters; ++t)
    setters.emplace_back([&, t] {
      for (uint32_t i = 1; i <= kEvents; ++i) {
        const uint32_t slot = (i * 7 + t) % (kSlots / kSetters) * kSetters + t;  // slots of its own
        store_release(written[slot], i);
        set_slot(*map, slot);
      }
      --running;
    });
  bool last_round = false;
  while (!last_round) {
    last_round = running == 0;
    take_slots(*map, kSlots, [&](uint32_t slot) { seen[slot] = load_acquire(written[slot]); });
  }
  for (auto& t : setters) t.join();
  EXPECT_EQ(seen, written);
}

// The kick of the doorbell, with a counter in place of the eventfd: after every ring either the server is awake or it was kicked.
TEST(Doorbell, ServerNeverSleepsOnARungBell) {
  constexpr uint32_t kRings = 30000;
  auto header = std::make_unique<abi::ChannelHeader>();
  std::atomic<uint32_t> kicks{0}, served{0};
  std::thread client([&] {
    for (uint32_t i = 1; i <= kRings; ++i) {
      if (ring_doorbell(*header, 0, i % 200)) ++kicks, kicks.notify_one();
      while (served.load() < i) std::this_thread::yield();  // one outstanding ring: a lost one hangs the test
    }
  });
  uint32_t used_kicks = 0;
  while (served < kRings) {
    take_slots(header->doorbell[0], 200, [&](uint32_t) { ++served; });
    if (served == kRings) break;
    if (!prepare_idle(*header, 0)) continue;
    kicks.wait(used_kicks);
    used_kicks = kicks;
    end_idle(*header, 0);
  }
  client.join();
  EXPECT_EQ(served, kRings);
}

TEST(EventQueue, SleeperIsWokenOnceForManyEvents) {
  auto queue = std::make_unique<abi::EventQueue>();
  EXPECT_FALSE(post_event(*queue, 5));
  EXPECT_FALSE(prepare_sleep(*queue));  // something is there
  EXPECT_FALSE(end_sleep(*queue));
  EXPECT_EQ(take_all(queue->ready).size(), 1u);
  EXPECT_TRUE(prepare_sleep(*queue));
  EXPECT_TRUE(post_event(*queue, 6));
  EXPECT_FALSE(post_event(*queue, 7));
  EXPECT_TRUE(end_sleep(*queue));
  EXPECT_EQ(take_all(queue->ready), (std::set<uint32_t>{6, 7}));
}

TEST(EventQueue, SocketReportsToTheQueuesItNames) {
  auto queues = std::make_unique<abi::EventQueue[]>(3);
  auto socket = std::make_unique<abi::SocketShared>();
  socket->watches[0] = 1;
  socket->watches[1] = 3;
  socket->watches[2] = 4;           // beyond the array
  socket->watches[3] = 0xffffffff;  // a hostile client's
  queues[2].sleeping = 1;
  std::set<uint32_t> woken;
  signal_socket(*socket, 42, 7, queues.get(), 3, [&](uint32_t q) { woken.insert(q); });
  EXPECT_EQ(socket->event_seq, 1u);
  EXPECT_EQ(woken, (std::set<uint32_t>{2}));
  EXPECT_EQ(take_all(queues[0].ready), (std::set<uint32_t>{42}));
  EXPECT_TRUE(take_all(queues[1].ready).empty());
  EXPECT_EQ(take_all(queues[2].ready), (std::set<uint32_t>{42}));
}

TEST(EventQueue, BlockedThreadIsWoken) {
  constexpr uint32_t kEvents = 5000;
  auto socket = std::make_unique<abi::SocketShared>();
  uint32_t state = 0;
  std::thread server([&] {
    for (uint32_t i = 1; i <= kEvents; ++i) {
      store_release(state, i);
      signal_waiters(*socket);
      while (load_acquire(socket->rx_consumed) != i) std::this_thread::yield();
    }
  });
  for (uint32_t got = 0; got < kEvents;) {
    const uint32_t seen = load_acquire(socket->event_seq);
    if (load_acquire(state) != got) {
      got = load_acquire(state);
      store_release(socket->rx_consumed, got);
      continue;
    }
    atomic_add(socket->waiters, 1u);
    futex_wait(socket->event_seq, seen);
    atomic_add(socket->waiters, ~0u);
  }
  server.join();
  EXPECT_EQ(socket->waiters, 0u);
}

}  // namespace
}  // namespace ferry::ipc

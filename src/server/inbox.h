// What other threads want of an engine: tasks, run on the engine's own thread in the order in which they came.
//
// Not for data: a task takes a lock, and wakes the engine if it sleeps. Bounded by who posts: each kind of task is the answer to one control
// request, or counted (Engines::pass_frame).
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "server/poller.h"

namespace ferry::server {

class Engine;

class Inbox final : public PollHandler {
 public:
  // Throws std::system_error without a descriptor.
  explicit Inbox(Poller& poller);
  ~Inbox();
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;

  // Any thread: `task(engine)` will be called once, or destroyed with the inbox.
  template <typename F>
  void post(F task) {
    push(std::make_unique<TaskOf<F>>(std::move(task)));
  }
  // The engine's thread: runs what is there. False: nothing.
  bool run(Engine& engine);
  // For the poller: awake is enough, every turn runs the inbox.
  void on_poll(uint32_t events) override;

 private:
  struct Task {
    virtual ~Task() = default;
    virtual void run(Engine& engine) = 0;
  };
  template <typename F>
  struct TaskOf final : Task {
    explicit TaskOf(F f) : call(std::move(f)) {}
    void run(Engine& engine) override { call(engine); }
    F call;
  };
  void push(std::unique_ptr<Task> task);

  Poller& poller_;
  UniqueFd wake_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Task>> tasks_;
  uint32_t waiting_ = 0;  // atomic: whether tasks_ has some
};

}  // namespace ferry::server

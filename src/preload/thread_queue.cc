// Owns threads' event queues and their free list (thread_queue.h).
#include "preload/thread_queue.h"

#include "client/mutex.h"

namespace ferry::preload {
namespace {

struct KeptQueue {
  client::EventQueue queue;
  KeptQueue* next_free = nullptr;
};
constinit client::Mutex g_free_mutex;
KeptQueue* g_free = nullptr;

KeptQueue* take_queue() {
  client::Guard guard(g_free_mutex);
  KeptQueue* kept = g_free;
  if (kept == nullptr) return new KeptQueue;
  g_free = kept->next_free;
  return kept;
}

// One that the thread left asleep counts a sleeper for ever, and is of no more use.
void give_back(KeptQueue* kept) {
  kept->queue.close();
  if (kept->queue.has_sleepers()) return;
  client::Guard guard(g_free_mutex);
  kept->next_free = g_free;
  g_free = kept;
}

struct OfThread {
  KeptQueue* kept = take_queue();
  ~OfThread() { give_back(kept); }
};

}  // namespace

client::EventQueue& thread_queue() {
  thread_local OfThread of_thread;
  return of_thread.kept->queue;
}

}  // namespace ferry::preload

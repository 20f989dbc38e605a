#include "server/inbox.h"

#include <sys/eventfd.h>

#include <cerrno>
#include <system_error>

#include "base/atomics.h"

namespace ferry::server {

Inbox::Inbox(Poller& poller) : poller_(poller), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  // Edge-triggered and never read, as the clients' kicks.
  if (!wake_ || !poller_.add(wake_.get(), *this, EPOLLIN | EPOLLET)) throw std::system_error(errno, std::generic_category(), "inbox");
}

Inbox::~Inbox() { poller_.remove(wake_.get(), *this); }

void Inbox::push(std::unique_ptr<Task> task) {
  bool first;
  {
    std::lock_guard guard(mutex_);
    first = tasks_.empty();
    tasks_.push_back(std::move(task));
    store_release(waiting_, 1u);
  }
  if (first) eventfd_write(wake_.get(), 1);
}

void Inbox::on_poll(uint32_t) {}

bool Inbox::run(Engine& engine) {
  if (load_relaxed(waiting_) == 0) return false;
  std::vector<std::unique_ptr<Task>> tasks;
  {
    std::lock_guard guard(mutex_);
    tasks.swap(tasks_);
    store_relaxed(waiting_, 0u);
  }
  for (auto& task : tasks) task->run(engine);
  return !tasks.empty();
}

}  // namespace ferry::server

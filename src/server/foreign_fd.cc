#include "server/foreign_fd.h"

#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace ferry::server {
namespace {

// One thread and a queue. A close that never returns holds up the other foreign descriptors, no more; how many there can be is bounded
// by the descriptors this process may have, and a client is dropped for the first one.
class Closer {
 public:
  void add(int fd) {
    std::lock_guard lock(mutex_);
    if (!started_) {
      started_ = true;
      std::thread([this] { run(); }).detach();
    }
    queue_.push_back(fd);
    ready_.notify_one();
  }

 private:
  [[noreturn]] void run() {
    for (;;) {
      std::unique_lock lock(mutex_);
      ready_.wait(lock, [this] { return !queue_.empty(); });
      int fd = queue_.front();
      queue_.pop_front();
      lock.unlock();
      close(fd);
    }
  }
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<int> queue_;
  bool started_ = false;
};

}  // namespace

void close_foreign(int fd) {
  if (fd < 0) return;
  const linger at_once{0, 0};
  if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0) {
    close(fd);
    return;
  }
  static Closer* closer = new Closer;  // never destroyed: its thread may be in close()
  closer->add(fd);
}

}  // namespace ferry::server

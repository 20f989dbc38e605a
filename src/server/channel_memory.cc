#include "server/channel_memory.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "base/atomics.h"

namespace ferry::server {
namespace {

UniqueFd open_anew(int fd, int flags) {
  return UniqueFd(open(("/proc/self/fd/" + std::to_string(fd)).c_str(), flags | O_NONBLOCK | O_CLOEXEC));
}

}  // namespace

Result<std::shared_ptr<ChannelMemory>> ChannelMemory::create(const ipc::ChannelConfig& config, Identity identity) {
  auto map = ipc::ChannelMap::create(config);
  if (!map) return map.error();
  return std::shared_ptr<ChannelMemory>(new ChannelMemory(std::move(*map), identity));
}

ChannelMemory::~ChannelMemory() { close_queues(); }

void ChannelMemory::close_queues() {
  for (int& end : write_ends_)
    if (const int fd = atomic_exchange(end, 0) - 1; fd >= 0) ::close(fd);
}

void ChannelMemory::stop_waking() {
  if (atomic_add(wakers_, ~0u) == 1) close_queues();
}

int ChannelMemory::write_end(uint32_t queue) const {
  return queue < ipc::abi::kMaxQueues ? load_acquire(write_ends_[queue]) - 1 : -1;
}

uint32_t ChannelMemory::queue_count() const { return load_relaxed(queue_count_); }

UniqueFd ChannelMemory::open_queue(uint32_t queue) {
  if (queue >= map_.layout().max_queues) return UniqueFd();
  if (const int end = write_end(queue); end >= 0) return open_anew(end, O_RDONLY);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return UniqueFd();
  store_release(write_ends_[queue], ends[1] + 1);
  if (queue >= queue_count_) store_release(queue_count_, queue + 1);
  return UniqueFd(ends[0]);
}

void ChannelMemory::wake_queue(uint32_t queue) const {
  const int end = write_end(queue);
  if (end < 0) return;
  const char byte = 1;
  // A full pipe is as good as a written one; without readers the write fails (SIGPIPE is ignored).
  [[maybe_unused]] const ssize_t n = write(end, &byte, 1);
}

UniqueFd ChannelMemory::open_wake_end(uint32_t queue) const {
  const int end = write_end(queue);
  return end < 0 ? UniqueFd() : open_anew(end, O_WRONLY);
}

}  // namespace ferry::server

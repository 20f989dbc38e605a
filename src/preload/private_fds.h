// Descriptors that belong to libferry itself (control socket, event queues, twin listeners). They live at high numbers, and the
// program cannot reach them: for it the number is closed. close(3..N), closefrom, close_range and dup2 of daemons go around them.
#pragma once

#include <atomic>
#include <cstdint>

namespace ferry::preload {

class PrivateFds {
 public:
  static constexpr int kMaxFds = 1 << 20;

  constexpr PrivateFds() = default;

  void add(int fd);
  void remove(int fd);
  bool contains(int fd) const {
    if (static_cast<unsigned>(fd) >= kMaxFds || count_.load(std::memory_order_relaxed) == 0) return false;
    return (words_[fd / 64].load(std::memory_order_relaxed) >> (fd % 64) & 1) != 0;
  }
  // The lowest private number in [from, to], or -1.
  int next(unsigned from, unsigned to) const;
  // Moves `fd` to a high number, close-on-exec, and makes it private. Returns the new number; on failure the old one, private.
  int adopt(int fd);
  // Closes a private descriptor of ours.
  void close(int fd);
  // The least number that private descriptors get, from RLIMIT_NOFILE.
  static int floor();

 private:
  std::atomic<uint32_t> count_{0};
  std::atomic<uint64_t> words_[kMaxFds / 64] = {};
};

PrivateFds& private_fds();

}  // namespace ferry::preload

// The data word under which libferry registers descriptors of its own in a program's kernel epoll instance. The program may use any
// 64-bit value; ours begin at a random number that no program has ever seen.
#pragma once

#include <cstdint>

namespace ferry::preload {

inline constexpr uint64_t kMarkerRange = (1u << 20) + 1;

// Random per process and inherited by fork.
uint64_t marker_base();

inline uint64_t queue_marker() { return marker_base(); }
inline uint64_t marker_of(int fd) { return marker_base() + 1 + static_cast<uint64_t>(fd); }
inline bool is_marker(uint64_t data) { return data - marker_base() < kMarkerRange; }
// The descriptor that a marker stands for; -1: the event queue.
inline int marked_fd(uint64_t data) { return static_cast<int>(data - marker_base()) - 1; }

}  // namespace ferry::preload

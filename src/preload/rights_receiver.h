// What a sender of Ferry sockets can know of the process that will receive them.
#pragma once

namespace ferry::preload {

enum class Receiver {
  attaches,       // has libferry, and by its root directory a way to ferryd
  out_of_reach,   // has libferry behind another root directory: it can attach only if it has a channel from before
  without_ferry,  // or nothing can be found out
};

// The process at the other end of connected AF_UNIX socket `fd`.
Receiver receiver_behind(int fd);

}  // namespace ferry::preload

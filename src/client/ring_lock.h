// Holds tx_lock or rx_lock of a home, and signal handlers off; on release tells the server if it has revoked the lock meanwhile.
#pragma once

#include "client/critical.h"
#include "client/home.h"
#include "ipc/lock.h"

namespace ferry::client {

enum class Side { tx, rx };
inline constexpr timespec kLookAgain = {1, 0};  // for ipc::wait_while_revoked: ferryd may die in the middle of a revocation

class RingLock {
 public:
  RingLock() = default;
  RingLock(const RingLock&) = delete;
  RingLock& operator=(const RingLock&) = delete;
  ~RingLock() { release(); }

  // False: revoked.
  bool acquire(Home& home, Side side) {
    enter();
    uint32_t& word = side == Side::tx ? home.shared->tx_lock : home.shared->rx_lock;
    if (ipc::lock(word) == ipc::LockResult::acquired) {
      home_ = &home;
      word_ = &word;
      return true;
    }
    leave();
    return false;
  }
  void release() {
    if (word_ == nullptr) return;
    const bool revoked = ipc::unlock(*word_);
    word_ = nullptr;
    if (revoked) home_->channel->ring(home_->engine, home_->slot);
    leave();
  }
  bool held() const { return word_ != nullptr; }

 private:
  static void enter() { enter_critical(); }
  static void leave() { leave_critical(); }
  Home* home_ = nullptr;
  uint32_t* word_ = nullptr;
};

}  // namespace ferry::client

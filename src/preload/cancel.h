// Cancellation as pthreads(7) has it. A call that sleeps is a cancellation point by that (process.cc); one that need not sleep has to look itself,
// or a thread that always finds something to do is never cancelled.
#pragma once

#include <pthread.h>

namespace ferry::preload {

// Ends the thread if it has been cancelled. In front of a call's work: nothing may be held but what destructors let go of.
inline void cancellation_point() { pthread_testcancel(); }

// For calls that are no cancellation points whatever they wait for: sendfile(2), syscall(2).
class NotCancelled {
 public:
  NotCancelled() { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old_); }
  ~NotCancelled() { pthread_setcancelstate(old_, nullptr); }
  NotCancelled(const NotCancelled&) = delete;
  NotCancelled& operator=(const NotCancelled&) = delete;

 private:
  int old_ = PTHREAD_CANCEL_ENABLE;
};

}  // namespace ferry::preload

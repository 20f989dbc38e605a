// Sections of client/ that a signal handler must not enter again: this thread holds a lock of the client or of a socket there.
//
// socket calls are async-signal-safe (signal-safety(7)), so a handler may call send() on the very socket that it interrupted, or
// leave by siglongjmp. libferry therefore defers handlers while in_critical_section() (it wraps sigaction), and runs them from
// `on_leave`, which Critical calls when the outermost section ends and a handler has been deferred. Cost: two plain increments
// of a thread-local word. No thread sleeps in a critical section, control calls excepted.
#pragma once

#include <cstdint>

namespace ferry::client {

struct CriticalState {
  uint32_t depth = 0;
  bool deferred = false;  // set by libferry's handler when it put a signal aside
};

// Initial-exec: no call into the loader, so that a signal handler can read it; libferry is loaded at start.
extern thread_local constinit CriticalState t_critical [[gnu::tls_model("initial-exec")]];
// What runs deferred signals; set once at start. May be null.
extern void (*g_on_critical_leave)();

inline bool in_critical_section() { return t_critical.depth != 0; }

inline void enter_critical() {
  ++t_critical.depth;
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
}
inline void leave_critical() {
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  if (--t_critical.depth == 0 && __builtin_expect(t_critical.deferred, 0) && g_on_critical_leave != nullptr)
    g_on_critical_leave();
}

class Critical {
 public:
  Critical() { enter_critical(); }
  ~Critical() { leave_critical(); }
  Critical(const Critical&) = delete;
  Critical& operator=(const Critical&) = delete;
};

}  // namespace ferry::client

// Owns libferry's start (process.h): settings from the environment, hooks into client/, sockets inherited over exec.
#include "preload/process.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "client/channel.h"
#include "client/sys.h"
#include "ipc/futex.h"
#include "port/user/hooks.h"
#include "preload/exec_environment.h"
#include "preload/fork.h"
#include "preload/inherited.h"
#include "preload/log.h"
#include "preload/private_fds.h"
#include "preload/real.h"
#include "preload/signals.h"

namespace ferry::preload {
namespace {

enum StartState : uint32_t { kNotStarted, kStarting, kStarted };
uint32_t g_state = kNotStarted;
long g_starting_thread = 0;

void on_private_fd(int fd, bool added) { added ? private_fds().add(fd) : private_fds().remove(fd); }

void to_log(port::LogLevel level, const char* text) {
  static constexpr LogLevel kLevels[] = {LogLevel::debug, LogLevel::info, LogLevel::warn, LogLevel::error};
  log_line(kLevels[static_cast<int>(level) & 3], "%s", text);
}

// A sleep in a blocking socket call is a cancellation point (pthreads(7)); no lock is held during it (client/sys.h).
long cancellable_futex_wait(const uint32_t* word, uint32_t expected, const timespec* timeout) {
  int old = 0;
  pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
  long result = ipc::futex_wait(*word, expected, timeout);
  pthread_setcanceltype(old, nullptr);
  return result;
}

long restarting_futex_wait(const uint32_t* word, uint32_t expected, const timespec* timeout) {
  const HandlersRun before = handlers_run();
  const long result = cancellable_futex_wait(word, expected, timeout);
  return result == -EINTR && restarts(before) ? -ETIMEDOUT : result;
}

long cancellable_futex_wait_any(const uint32_t* const* words, const uint32_t* expected, uint32_t count, const timespec* until) {
  int old = 0;
  pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
  long result = ipc::futex_wait_any(words, expected, count, until);
  pthread_setcanceltype(old, nullptr);
  return result;
}

const char* own_path() {
  Dl_info info{};
  return dladdr(reinterpret_cast<const void*>(&start_process), &info) != 0 && info.dli_fname != nullptr ? info.dli_fname : "";
}

void start() {
  resolve_real_functions();
  log_configure(getenv("FERRY_LOG"));
  port::set_log_sink(to_log);
  remember_environment(own_path());
  client::sys().futex_wait = cancellable_futex_wait;
  client::sys().futex_wait_slice = restarting_futex_wait;
  client::sys().futex_wait_any = cancellable_futex_wait_any;
  client::Config config;
  if (const char* path = getenv("FERRY_SOCKET"); path != nullptr && *path != '\0') config.path = path;
  const char* scheme = getenv("FERRY_SCHEME");
  config.kernel_mode = scheme != nullptr && strcmp(scheme, "copy") == 0;
  config.private_fd_floor = PrivateFds::floor();
  config.on_private_fd = on_private_fd;
  config.lifeline_signal = start_signals();
  client::Channel::configure(config);
  watch_forks();
  adopt_inherited();
}

}  // namespace

bool start_process() {
  if (__atomic_load_n(&g_state, __ATOMIC_ACQUIRE) == kStarted) [[likely]] return true;
  const long self = ipc::raw_syscall(SYS_gettid);
  uint32_t expected = kNotStarted;
  if (__atomic_compare_exchange_n(&g_state, &expected, kStarting, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
    g_starting_thread = self;
    int saved_errno = errno;
    start();
    errno = saved_errno;
    __atomic_store_n(&g_state, kStarted, __ATOMIC_RELEASE);
    return true;
  }
  if (g_starting_thread == self) return false;
  while (__atomic_load_n(&g_state, __ATOMIC_ACQUIRE) != kStarted) ipc::raw_syscall(SYS_sched_yield);
  return true;
}

void report_open_failure(int error) {
  static int last = 0;
  if (__atomic_exchange_n(&last, error, __ATOMIC_RELAXED) == error) return;
  const char* path = client::Channel::config().path.c_str();
  switch (error) {
    case -ENOENT: case -ECONNREFUSED: case -ENETDOWN:
      FERRY_LOG_ERROR("no ferryd answers at %s: sockets cannot be opened (they are not given to the kernel)", path);
      break;
    case -EPROTO:
      FERRY_LOG_ERROR("the ferryd at %s is of another version: sockets cannot be opened", path);
      break;
    default:
      FERRY_LOG_ERROR("cannot open a socket at %s: %s", path, strerror(-error));
  }
}

namespace {
[[gnu::constructor(101)]] void at_load() { start_process(); }
}  // namespace

}  // namespace ferry::preload

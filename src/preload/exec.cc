// Interposes the exec family and posix_spawn. The environment keeps libferry loaded in the new program (exec_environment.h); into a
// program that cannot load it or goes past it, Ferry sockets go in kernel mode, and what kernel mode cannot do is refused aloud.
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>

#include <memory>
#include <string>
#include <vector>

#include "client/channel.h"
#include "ipc/owned_fd.h"
#include "ipc/syscall.h"
#include "preload/exec_environment.h"
#include "preload/fork.h"
#include "preload/exec_target.h"
#include "preload/fd_table.h"
#include "preload/handover.h"
#include "preload/log.h"
#include "preload/real.h"
#include "preload/socket_file.h"

namespace ferry::preload {
namespace {

// Sockets that the new program inherits go to kernel mode. False: one cannot (a listener needs libferry to accept).
bool release_sockets(const char* program, ExecTarget target) {
  bool ok = true;
  fd_table().for_each([&](int fd, OpenFile* file) {
    if (file->kind() != FileKind::socket) return;
    long flags = ipc::raw_syscall(SYS_fcntl, fd, F_GETFD);
    if (flags < 0 || (flags & FD_CLOEXEC) != 0) return;
    FileRef<SocketFile> socket = socket_of(fd);
    if (!socket) return;
    if (socket->socket.is_listener()) {
      FERRY_LOG_ERROR("%s is %s and inherits listener %d, which only a program with libferry can use: not executed", program,
                      exec_target_name(target), fd);
      ok = false;
    } else if (demote(*socket, fd, "it is inherited by a program without libferry") != 0) {
      ok = false;
    }
  });
  return ok;
}

// Looks at the program first. False: errno says why it is not to be executed.
bool prepare(const char* program, ExecTarget target) {
  if (target == ExecTarget::loads_ferry || target == ExecTarget::unknown) return true;
  if (!release_sockets(program, target)) return errno = EACCES, false;
  FERRY_LOG_WARN("%s is %s: %s, sockets that it opens are the kernel's", program, exec_target_name(target),
                 target == ExecTarget::go ? "it makes its system calls itself" : "libferry cannot be loaded into it");
  return true;
}

// The environment of the new program, alive until the call returns.
class EnvironmentFor {
 public:
  EnvironmentFor(const char* program, char* const* environment) : child_(environment) {
    if (child_.restored()) FERRY_LOG_INFO("the environment for %s had lost LD_PRELOAD or FERRY_*: put back", program);
  }
  char* const* get() const { return child_.get(); }

 private:
  ChildEnvironment child_;
};

// During the call. It ends only when the call has failed.
struct Executing {
  Executing() { client::Channel::before_exec(); }
  ~Executing() { client::Channel::after_failed_exec(); }
  Executing(const Executing&) = delete;
  Executing& operator=(const Executing&) = delete;
};

int exec_path(const char* path, char* const* arguments, char* const* environment) {
  if (path == nullptr) return errno = EFAULT, -1;
  if (!prepare(path, inspect_exec_target(path))) return -1;
  const Executing executing;
  return real().execve(path, arguments, EnvironmentFor(path, environment).get());
}

int exec_search(const char* file, char* const* arguments, char* const* environment) {
  std::string path = find_executable(file);
  if (!path.empty() && !prepare(path.c_str(), inspect_exec_target(path.c_str()))) return -1;
  const Executing executing;
  return real().execvpe(file, arguments, EnvironmentFor(file, environment).get());
}

// The arguments of execl and relatives as an array; `rest` is left behind the terminating null pointer.
std::vector<char*> collect(const char* first, va_list rest) {
  std::vector<char*> arguments;
  for (const char* a = first; a != nullptr; a = va_arg(rest, const char*)) arguments.push_back(const_cast<char*>(a));
  arguments.push_back(nullptr);
  return arguments;
}

using SpawnFunction = decltype(Real::posix_spawn);

int spawn(SpawnFunction function, pid_t* pid, const char* file, const std::string& path, const posix_spawn_file_actions_t* actions,
          const posix_spawnattr_t* attributes, char* const* arguments, char* const* environment) {
  int saved_errno = errno;
  if (!path.empty() && !prepare(path.c_str(), inspect_exec_target(path.c_str()))) {
    int error = errno;
    errno = saved_errno;
    return error;
  }
  const UnseenCopies copies;
  return function(pid, file, actions, attributes, arguments, EnvironmentFor(file, environment).get());
}

}  // namespace

FERRY_EXPORT int execve(const char* path, char* const arguments[], char* const environment[]) noexcept {
  return exec_path(path, arguments, environment);
}
FERRY_EXPORT int execv(const char* path, char* const arguments[]) noexcept { return exec_path(path, arguments, environ); }
FERRY_EXPORT int execvp(const char* file, char* const arguments[]) noexcept { return exec_search(file, arguments, environ); }
FERRY_EXPORT int execvpe(const char* file, char* const arguments[], char* const environment[]) noexcept {
  return exec_search(file, arguments, environment);
}

FERRY_EXPORT int execl(const char* path, const char* first, ...) noexcept {
  va_list rest;
  va_start(rest, first);
  std::vector<char*> arguments = collect(first, rest);
  va_end(rest);
  return exec_path(path, arguments.data(), environ);
}
FERRY_EXPORT int execlp(const char* file, const char* first, ...) noexcept {
  va_list rest;
  va_start(rest, first);
  std::vector<char*> arguments = collect(first, rest);
  va_end(rest);
  return exec_search(file, arguments.data(), environ);
}
FERRY_EXPORT int execle(const char* path, const char* first, ...) noexcept {
  va_list rest;
  va_start(rest, first);
  std::vector<char*> arguments = collect(first, rest);
  char* const* environment = va_arg(rest, char* const*);
  va_end(rest);
  return exec_path(path, arguments.data(), environment);
}

FERRY_EXPORT int fexecve(int fd, char* const arguments[], char* const environment[]) noexcept {
  if (!prepare("a program given as a descriptor", inspect_exec_target_fd(fd))) return -1;
  const Executing executing;
  return real().fexecve(fd, arguments, EnvironmentFor("a program given as a descriptor", environment).get());
}
FERRY_EXPORT int execveat(int directory, const char* path, char* const arguments[], char* const environment[], int flags) noexcept {
  if (real().execveat == nullptr) return errno = ENOSYS, -1;
  ipc::OwnedFd target(path != nullptr && *path != '\0' ? real().openat(directory, path, O_PATH | O_CLOEXEC) : -1);
  if (!prepare(path, inspect_exec_target_fd(target.valid() ? target.get() : directory))) return -1;
  const Executing executing;
  return real().execveat(directory, path, arguments, EnvironmentFor(path, environment).get(), flags);
}

FERRY_EXPORT int posix_spawn(pid_t* pid, const char* path, const posix_spawn_file_actions_t* actions,
                             const posix_spawnattr_t* attributes, char* const arguments[], char* const environment[]) {
  return spawn(real().posix_spawn, pid, path, path, actions, attributes, arguments, environment);
}
FERRY_EXPORT int posix_spawnp(pid_t* pid, const char* file, const posix_spawn_file_actions_t* actions,
                              const posix_spawnattr_t* attributes, char* const arguments[], char* const environment[]) {
  return spawn(real().posix_spawnp, pid, file, find_executable(file), actions, attributes, arguments, environment);
}

}  // namespace ferry::preload

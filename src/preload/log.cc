// Owns the log setting and the formatting of a line (log.h). Does not own a descriptor: a log file is opened, appended to and
// closed for every line, so that no number of the program's is taken.
#include "preload/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ipc/quiet_write.h"
#include "ipc/syscall.h"

namespace ferry::preload {
namespace {

LogLevel g_level = LogLevel::warn;
char g_path[256] = "";

LogLevel parse_level(const char* text, size_t length) {
  static const char* const kNames[] = {"off", "error", "warn", "info", "debug"};
  for (int i = 0; i < 5; ++i) {
    if (strlen(kNames[i]) == length && strncmp(text, kNames[i], length) == 0) return static_cast<LogLevel>(i);
  }
  return LogLevel::warn;
}

}  // namespace

void log_configure(const char* setting) {
  if (setting == nullptr) return;
  const char* colon = strchr(setting, ':');
  size_t length = colon ? static_cast<size_t>(colon - setting) : strlen(setting);
  g_level = parse_level(setting, length);
  g_path[0] = '\0';
  if (colon != nullptr && strlen(colon + 1) < sizeof(g_path)) strcpy(g_path, colon + 1);
}

bool log_enabled(LogLevel level) { return level <= g_level; }

void log_line(LogLevel level, const char* format, ...) {
  if (!log_enabled(level)) return;
  int saved_errno = errno;
  char line[512];
  int used = snprintf(line, sizeof(line), "libferry[%d]: ", static_cast<int>(ipc::raw_syscall(SYS_getpid)));
  va_list arguments;
  va_start(arguments, format);
  int more = vsnprintf(line + used, sizeof(line) - static_cast<size_t>(used) - 1, format, arguments);
  va_end(arguments);
  if (more < 0) more = 0;
  used += more;
  if (used > static_cast<int>(sizeof(line)) - 2) used = sizeof(line) - 2;
  line[used++] = '\n';
  if (g_path[0] == '\0') {
    ipc::write_quietly(2, line, used);
  } else {
    long fd = ipc::raw_syscall(SYS_openat, AT_FDCWD, ipc::arg(g_path), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd >= 0) {
      ipc::write_quietly(static_cast<int>(fd), line, used);
      ipc::raw_syscall(SYS_close, fd);
    }
  }
  errno = saved_errno;
}

}  // namespace ferry::preload

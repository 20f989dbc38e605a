// libferry's log. FERRY_LOG=LEVEL[:FILE], LEVEL one of off, error, warn (default), info, debug; without FILE: standard error.
// One line is one write(2), begins with "libferry[pid]: ", and never disturbs errno. Safe in signal handlers and after fork.
#pragma once

namespace ferry::preload {

enum class LogLevel : int { off = 0, error, warn, info, debug };

// Reads FERRY_LOG. Called once at start; may be called again (tests).
void log_configure(const char* setting);

bool log_enabled(LogLevel level);

__attribute__((format(printf, 2, 3))) void log_line(LogLevel level, const char* format, ...);

}  // namespace ferry::preload

#define FERRY_LOG_ERROR(...) ::ferry::preload::log_line(::ferry::preload::LogLevel::error, __VA_ARGS__)
#define FERRY_LOG_WARN(...) ::ferry::preload::log_line(::ferry::preload::LogLevel::warn, __VA_ARGS__)
#define FERRY_LOG_INFO(...) ::ferry::preload::log_line(::ferry::preload::LogLevel::info, __VA_ARGS__)
#define FERRY_LOG_DEBUG(...)                                                          \
  do {                                                                                \
    if (::ferry::preload::log_enabled(::ferry::preload::LogLevel::debug))             \
      ::ferry::preload::log_line(::ferry::preload::LogLevel::debug, __VA_ARGS__);     \
  } while (false)

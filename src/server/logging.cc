#include "server/logging.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <mutex>
#include <optional>
#include <utility>

#include "port/user/hooks.h"

namespace ferry::server {
namespace {

spdlog::level::level_enum to_spdlog(port::LogLevel level) {
  switch (level) {
    case port::LogLevel::debug: return spdlog::level::debug;
    case port::LogLevel::info: return spdlog::level::info;
    case port::LogLevel::warning: return spdlog::level::warn;
    case port::LogLevel::error: break;
  }
  return spdlog::level::err;
}

// Clients and peers can make the server say things: at most kLinesPerSecond, and how many were left out.
class Limiter {
 public:
  // How many lines were left out before this one; nothing: leave this one out, too.
  std::optional<uint64_t> pass() {
    std::lock_guard guard(mutex_);
    auto now = std::chrono::steady_clock::now();
    if (now - second_ >= std::chrono::seconds(1)) {
      second_ = now;
      lines_ = 0;
    }
    if (++lines_ > kLinesPerSecond) {
      ++left_out_;
      return std::nullopt;
    }
    return std::exchange(left_out_, 0);
  }

 private:
  static constexpr uint32_t kLinesPerSecond = 50;
  std::mutex mutex_;  // the engines have threads
  std::chrono::steady_clock::time_point second_;
  uint32_t lines_ = 0;
  uint64_t left_out_ = 0;
};

}  // namespace

void start_logging(port::LogLevel level) {
  auto logger = spdlog::stderr_color_st("ferryd");
  logger->set_pattern("%Y-%m-%d %H:%M:%S.%e ferryd %^%l%$: %v");
  logger->set_level(to_spdlog(level));
  spdlog::set_default_logger(logger);
  port::set_log_sink([](port::LogLevel l, const char* text) {
    static Limiter limiter;
    if (!spdlog::should_log(to_spdlog(l))) return;
    auto left_out = limiter.pass();
    if (left_out && *left_out > 0) spdlog::warn("{} lines were left out", *left_out);
    if (left_out) spdlog::log(to_spdlog(l), "{}", text);
  });
}

}  // namespace ferry::server

#include "server/logging.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

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

}  // namespace

void start_logging(port::LogLevel level) {
  auto logger = spdlog::stderr_color_st("ferryd");
  logger->set_pattern("%Y-%m-%d %H:%M:%S.%e ferryd %^%l%$: %v");
  logger->set_level(to_spdlog(level));
  spdlog::set_default_logger(logger);
  port::set_log_sink([](port::LogLevel l, const char* text) { spdlog::log(to_spdlog(l), "{}", text); });
}

}  // namespace ferry::server

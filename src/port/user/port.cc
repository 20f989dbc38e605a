// The user-level placement: malloc, abort, and a log sink that ferryd may replace.
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "port/api/alloc.h"
#include "port/api/assert.h"
#include "port/api/log.h"
#include "port/user/hooks.h"

namespace ferry::port {
namespace {
LogSink g_log_sink = nullptr;
AllocationGate g_allocation_gate = nullptr;
}  // namespace

void set_log_sink(LogSink sink) { g_log_sink = sink; }
void set_allocation_gate(AllocationGate gate) { g_allocation_gate = gate; }

void* allocate(size_t size) {
  if (g_allocation_gate != nullptr && !g_allocation_gate(size)) return nullptr;
  return std::malloc(size);
}

void release(void* p) { std::free(p); }

void assertion_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "ferry: internal error: %s (%s:%d)\n", expression, file, line);
  std::abort();
}

void log(LogLevel level, const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (g_log_sink != nullptr) return g_log_sink(level, text);
  std::fprintf(stderr, "ferry: %s\n", text);
}

}  // namespace ferry::port

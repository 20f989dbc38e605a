// Assertions for internal invariants. They cannot be reached from the wire or from a client's memory, and stay on in
// release builds. The placement (port/user, port/kernel) says what a failure does.
#pragma once

namespace ferry::port {
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line);
}

#define FERRY_ASSERT(expression) \
  (__builtin_expect(!!(expression), 1) ? (void)0 : ::ferry::port::assertion_failed(#expression, __FILE__, __LINE__))

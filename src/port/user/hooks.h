// What a user-level process may hang into the placement: a log sink, and a gate that makes allocations fail (tests).
#pragma once

#include <cstddef>

#include "port/api/log.h"

namespace ferry::port {

using LogSink = void (*)(LogLevel level, const char* text);
using AllocationGate = bool (*)(size_t size);  // false: this allocation fails

// Both take effect at once and are not thread safe: set them before the core runs. nullptr restores the default.
void set_log_sink(LogSink sink);
void set_allocation_gate(AllocationGate gate);

}  // namespace ferry::port

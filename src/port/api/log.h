// One-line messages from the core to whoever runs it. Rare by design: the data path counts, it does not log.
#pragma once

#include <cstdint>

namespace ferry::port {

enum class LogLevel : uint8_t { debug, info, warning, error };

// Writes one message; `format` is printf's, with the conversions d u x s lld llu only.
[[gnu::format(printf, 2, 3)]] void log(LogLevel level, const char* format, ...);

}  // namespace ferry::port

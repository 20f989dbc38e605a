// The log of ferryd: one line per message on stderr, by spdlog. Everything logs through port/api/log.h.
#pragma once

#include "port/api/log.h"

namespace ferry::server {

// Before anything logs. Messages below `level` are dropped.
void start_logging(port::LogLevel level);

}  // namespace ferry::server

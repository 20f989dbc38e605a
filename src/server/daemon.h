// Start, run and clean stop of ferryd.
#pragma once

#include "server/config.h"

namespace ferry::server {

// Opens everything, gives up privileges, serves until SIGTERM or SIGINT. Returns the exit status: 0, or 1 after an error that
// was told in one sentence.
int serve(const Config& config);

}  // namespace ferry::server

// Making processes by copying this one.
#pragma once

#include <sys/types.h>

namespace ferry::preload {

// fork(2) with libferry's own state consistent in the child. -1 and errno on failure.
pid_t fork_process();

}  // namespace ferry::preload
